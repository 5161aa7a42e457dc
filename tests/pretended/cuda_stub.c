/* The driver's library, of which torch only wants to know that it is there and that a context exists. */
int cuCtxGetCurrent(void **context) { *context = (void *)1; return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }
#define NOTHING(name) int name(void) { return 0; }
NOTHING(cuCtxSetCurrent) NOTHING(cuDeviceGet) NOTHING(cuDeviceGetAttribute) NOTHING(cuDevicePrimaryCtxRetain)
NOTHING(cuFuncGetAttribute) NOTHING(cuFuncSetAttribute) NOTHING(cuFuncSetCacheConfig) NOTHING(cuGetErrorString)
NOTHING(cuLaunchCooperativeKernel) NOTHING(cuLaunchKernel) NOTHING(cuLinkAddData_v2) NOTHING(cuLinkComplete)
NOTHING(cuLinkCreate_v2) NOTHING(cuModuleGetFunction) NOTHING(cuModuleLoad) NOTHING(cuModuleLoadData)
NOTHING(cuModuleLoadDataEx) NOTHING(cuModuleUnload) NOTHING(cuOccupancyMaxActiveBlocksPerMultiprocessor)
NOTHING(cuPointerGetAttribute) NOTHING(cuTensorMapEncodeTiled)
