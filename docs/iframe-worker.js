/* Browsers start no workers from the disk. Where a page was opened from there, an iframe does a worker's work, so that
   the search works as it does from a server. Loaded in place of the package iframe-worker, which is elsewhere. */
window.IFrameWorker = class extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.scope = frame.contentWindow;
    this.scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    const script = this.scope.document.createElement("script");
    script.src = url;
    this.ready = new Promise((done) => script.addEventListener("load", done));
    this.scope.document.body.append(script);
  }

  postMessage(data) {
    this.ready.then(() => this.scope.dispatchEvent(new this.scope.MessageEvent("message", { data })));
  }
};
if (location.protocol === "file:") window.Worker = window.IFrameWorker;
