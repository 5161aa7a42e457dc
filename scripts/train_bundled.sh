#!/usr/bin/env bash
# Trains what the package bundles: the standard autoencoder, the 3D-aware one of cars, and from it the bundle of objects.
# PHOTOS is a folder of real photos of at least 160 x 160 pixels, OBJECTS one of GLBs with a manifest.csv, see
# scripts/choose_objects.py. Ten hours of one CPU core; a GPU is faster.
set -euo pipefail
photos=${1:?"photos: expected a folder of real photos as the first argument, got none; name one"}
objects=${2:?"objects: expected a folder of GLBs with a manifest.csv as the second argument, got none; name one"}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
bundles=latent_nerfstudio/latent_space
quiet=(--output-dir outputs --timestamp latest --vis tensorboard)

# A standard autoencoder of the downscale factor 4.
lns demo-scenes --output data/autoencoder/train --num-scenes 300 --views 12 --seed 1000
lns demo-scenes --output data/autoencoder/test --num-scenes 12 --views 10 --seed 2000
python scripts/train_autoencoder.py --scenes data/autoencoder/train --test-scenes data/autoencoder/test \
	--photos "$photos" --out outputs/autoencoder/standard --minutes 36 --widths 16 32 64
rm -rf "$bundles/bundled_standard" && cp -r outputs/autoencoder/standard/autoencoder "$bundles/bundled_standard"

# Photos of training only: the last 74 by name are held out.
mkdir -p data/autoencoder/photos
find "$photos" -maxdepth 1 -name '*.jpg' | sort | head -n -74 | xargs -I {} ln -sf {} data/autoencoder/photos/

# The decoder of rendered latents: scenes fitted to a bundle by latent supervision, then the decoder alone to their renders.
learn_decoder() { # BUNDLE DATA NAME ALIGNMENT_START WHOLE_PICTURES_START STEPS SECONDS_IN_ALL FLAGS...
	ns-train latent-triplane --data "$2" --pipeline.model.shared-bundle "$1" --pipeline.align-scenes False \
		--write-bundle True --pipeline.rgb-alignment-start "$4" --pipeline.whole-pictures-start "$5" \
		--max-num-iterations "$6" --contact-sheet False --experiment-name "$3" "${quiet[@]}" "${@:8}"
	python scripts/add_decoder.py --run "outputs/$3/latent-triplane/latest" --bundle "$1" --seconds "$7"
}

# Cars.
lns demo-scenes --output data/autoencoder/joint --num-scenes 128 --views 40 --seed 3000
ns-train ig-ae --data data/autoencoder/joint --pipeline.real-images data/autoencoder/photos \
	--pipeline.model.autoencoder.source outputs/autoencoder/standard/autoencoder \
	--pipeline.separate-decoders False --max-num-iterations 4400 --pipeline.whole-pictures-start 4100 --experiment-name cars "${quiet[@]}"
python scripts/write_bundled.py --run outputs/cars/ig-ae/latest --out "$bundles/bundled_cars"
learn_decoder "$bundles/bundled_cars" data/autoencoder/joint decoder 2400 9000 9400 5442 --pipeline.datamanager.images-per-batch 8
lns demo-scenes --output data/autoencoder/more --num-scenes 256 --views 24 --seed 3000
learn_decoder "$bundles/bundled_cars" data/autoencoder/more more 4800 18200 18800 7540 --pipeline.datamanager.images-per-batch 8

# Its scene encoder, a small one, from 448 cars, measured on eight, the last by name.
lns demo-scenes --output data/autoencoder/encoder/cars --num-scenes 48 --views 24 --seed 3100
lns demo-scenes --output data/autoencoder/encoder/more --num-scenes 120 --views 14 --seed 7100
lns demo-scenes --output data/autoencoder/encoder/many --num-scenes 280 --views 10 --seed 20000
lns demo-scenes --output data/autoencoder/encoder/zz --num-scenes 8 --views 24 --seed 31000
mkdir -p data/autoencoder/encoder/all
for scene in "$PWD"/data/autoencoder/encoder/{cars,more,many,zz}/*/; do
	ln -sfn "${scene%/}" "data/autoencoder/encoder/all/$(basename "$(dirname "$scene")")_$(basename "$scene")"
done
python - "$bundles/bundled_cars" <<'END'
import sys
from pathlib import Path

from latent_nerfstudio.engine.scene_encoder import EncoderTraining, SceneEncoderConfig, learn_scene_encoder

small = {"fine_width": 24, "width": 32, "inner_width": 48, "inner_blocks": 1}
small.update(look_width=24, look_inner_width=32, look_blocks=1)
data, output = Path("data/autoencoder/encoder/all"), Path("outputs/scene_encoder_cars")
learn_scene_encoder(data, sys.argv[1], output, EncoderTraining(steps=3600), SceneEncoderConfig(**small))
END
python scripts/add_scene_encoder.py --run outputs/scene_encoder_cars --bundle "$bundles/bundled_cars"

# Objects: meshes of free licences, some with photos on their sides, and generated ones, at 128 and at 256 pixels.
meshes=data/objects/meshes scenes=data/objects/scenes
python scripts/choose_objects.py --objects "$objects" --photos "$photos" --out "$meshes"
for entry in real128:11 style128:12 photo128:13 real256:21 style256:22 photo256:23; do
	set=${entry%:*}
	lns render-meshes "$meshes/$set" --output "$scenes/$set" --views 24 --size "${set: -3}" --seed "${entry#*:}"
done
lns demo-scenes --output "$scenes/cars128" --num-scenes 48 --views 24 --seed 3100
lns demo-scenes --output "$scenes/cars256" --num-scenes 16 --views 24 --seed 3200 --size 256
lns demo-scenes --output "$scenes/goods128" --family goods --num-scenes 60 --views 24 --seed 5000
lns demo-scenes --output "$scenes/goods256" --family goods --num-scenes 16 --views 24 --seed 5100 --size 256
gather() { # FOLDER SET COUNT: links COUNT scenes of a set, evenly chosen, into one folder
	mkdir -p "$1"
	find "$PWD/$scenes/$2" -mindepth 1 -maxdepth 1 -type d | sort | awk -v n="$3" '{ line[NR] = $0 }
		END { for (i = 1; i <= NR; i++) if (int(i * n / NR) > int((i - 1) * n / NR)) print line[i] }' |
		while read -r scene; do ln -sfn "$scene" "$1/$2_$(basename "$scene")"; done
}
for entry in real128:68 real256:30 style128:40 style256:8 photo128:50 photo256:12 cars128:40 cars256:8; do
	gather data/objects/joint "${entry%:*}" "${entry#*:}"
	gather data/objects/decoder "${entry%:*}" "${entry#*:}"
done
gather data/objects/decoder goods128 60
gather data/objects/decoder goods256 16

python scripts/warp_autoencoder.py --scenes "$scenes" --meshes "$meshes" --photos "$photos" --source bundled-cars \
	--out outputs/warped --minutes 9
many=(--pipeline.datamanager.images-per-batch 6 --pipeline.datamanager.scenes-per-batch 32
	--pipeline.datamanager.rays-per-batch 4096)
ns-train ig-ae --data data/objects/joint --pipeline.real-images data/autoencoder/photos \
	--pipeline.real-images-per-batch 6 --pipeline.model.autoencoder.source outputs/warped \
	--pipeline.separate-decoders False --pipeline.joint-training-start 1500 --pipeline.whole-pictures-start 3040 --max-num-iterations 3100 \
	--pipeline.latent-loss-weight 0.03 --optimizers.encoder.optimizer.lr 1e-4 --optimizers.decoder.optimizer.lr 3e-4 \
	--experiment-name objects "${many[@]}" "${quiet[@]}"
former=outputs/former
python scripts/write_bundled.py --run outputs/objects/ig-ae/latest --out "$former"
learn_decoder "$former" data/objects/decoder decoder-objects 3000 7300 7600 4411 "${many[@]}"

# The scene encoder: more objects, and measured on eight of another source, the last by name.
lns demo-scenes --output "$scenes/morecars" --num-scenes 120 --views 14 --seed 7100
for entry in more_style128:14 more_photo128:15 many_photo128:16; do
	lns render-meshes "$meshes/${entry%:*}" --output "$scenes/${entry%:*}" --views 14 --size 128 --seed "${entry#*:}"
done
lns render-meshes "$meshes/held_other" --output "$scenes/zz_held_out" --views 18 --size 128 --seed 33
for set in real128 style128 photo128 cars128 goods128 morecars more_style128 more_photo128 many_photo128 zz_held_out; do
	gather data/objects/encoder "$set" "$(find "$scenes/$set" -mindepth 1 -maxdepth 1 -type d | wc -l)"
done
learn_encoder() { # BUNDLE NAME STEPS FLAGS...
	lns learn-scene-encoder data/objects/encoder --bundle "$1" --output "outputs/$2" --steps "$3" "${@:4}"
}
learn_encoder "$former" scene_encoder 6000 --learning-rate 1e-3
learn_encoder "$former" scene_encoder_more 10000 --learning-rate 1e-3 --start-from outputs/scene_encoder
learn_encoder "$former" scene_encoder_looks 4300 --start-from outputs/scene_encoder_more --known-rate 0.25
python scripts/add_scene_encoder.py --run outputs/scene_encoder_looks --bundle "$former"

# What ships goes on from there with photos enlarged twice: L_RGB trains the encoder too, renders and pictures have a
# decoder each, that of renders learns from scenes of a few photos, and the scene encoder from the new latents.
for entry in real128:68 style128:56 photo128:52 cars128:48 goods128:30; do
	gather data/objects/enlarged "${entry%:*}" "${entry#*:}"
done
ns-train ig-ae --data data/objects/enlarged --pipeline.real-images data/autoencoder/photos --pipeline.real-images-per-batch 6 \
	--pipeline.model.shared-bundle "$former" --pipeline.model.autoencoder.enlarge 2 --pipeline.rgb-loss-trains-encoder True \
	--pipeline.joint-training-start 400 --pipeline.whole-pictures-start 1280 --max-num-iterations 1300 \
	--pipeline.latent-loss-weight 0.03 --pipeline.real-loss-weight 8 --optimizers.encoder.optimizer.lr 2e-4 \
	--optimizers.decoder.optimizer.lr 3e-4 --experiment-name enlarged "${many[@]}" "${quiet[@]}" \
	--pipeline.datamanager.rays-per-batch 8192
python scripts/write_bundled.py --run outputs/enlarged/ig-ae/latest --out "$bundles/bundled"
for entry in real128:68 style128:56 photo128:52 cars128:48 goods128:60; do
	gather data/objects/renders "${entry%:*}" "${entry#*:}"
done
learn_encoder bundled scene_encoder_enlarged 3400 --start-from "$former" --learning-rate 2e-3
python scripts/add_scene_encoder.py --run outputs/scene_encoder_enlarged --bundle bundled
# What ships learned likewise, in stages: 2,000 steps of squared errors and 1,300 of today's loss, of enlarged photos alone (two
# thirds of these scenes fitted from the mean, the others from predictions after 1,250 steps), then 3,000 steps of photos of
# both sizes, and 1,500 with scenes that have planes of their own.
python scripts/learn_decoder.py --data data/objects/renders --bundle "$bundles/bundled" --output outputs/renders
