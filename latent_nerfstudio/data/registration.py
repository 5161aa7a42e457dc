"""The entry point `nerfstudio.dataparser_configs`. Nerfstudio loads this while it builds the list of its own
dataparsers, so nothing here may import datamanagers or nerfstudio's method configs."""

from nerfstudio.plugins.registry_dataparser import DataParserSpecification

from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig

scenes = DataParserSpecification(
    config=ScenesDataParserConfig(),
    description="One scene folder, or a folder of scene folders, in Nerfstudio, instant-ngp, Blender or SRN layout.",
)
