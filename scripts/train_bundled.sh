#!/usr/bin/env bash
# Trains what the package bundles: the standard autoencoder, and the 3D-aware one with its base planes.
# PHOTOS is a folder of real photos of at least 160 x 160 pixels. Three and a half hours of one CPU core; a GPU is faster.
set -euo pipefail
photos=${1:?"photos: expected a folder of real photos as the first argument, got none; name one"}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

lns demo-scenes --output data/autoencoder/train --num-scenes 300 --views 12 --seed 1000
lns demo-scenes --output data/autoencoder/test --num-scenes 12 --views 10 --seed 2000
lns demo-scenes --output data/autoencoder/joint --num-scenes 128 --views 40 --seed 3000
standard() { # OUT MINUTES
	python scripts/train_autoencoder.py --scenes data/autoencoder/train --test-scenes data/autoencoder/test \
		--photos "$photos" --widths 16 32 64 --out "$1" --minutes "$2"
}

# The standard one, where joint training starts from.
standard outputs/autoencoder/standard 36

# The standard one with the downscale factor 8.
python scripts/train_autoencoder.py --scenes data/autoencoder/train --test-scenes data/autoencoder/test \
	--photos "$photos" --widths 16 32 64 88 --out outputs/autoencoder/f8 --minutes 54

# Photos of training only: the last 74 by name are held out.
mkdir -p data/autoencoder/photos
find "$photos" -maxdepth 1 -name '*.jpg' | sort | head -n -74 | xargs -I {} ln -sf {} data/autoencoder/photos/
ns-train ig-ae --data data/autoencoder/joint --pipeline.real-images data/autoencoder/photos \
	--pipeline.model.autoencoder.source outputs/autoencoder/standard/autoencoder \
	--max-num-iterations 4400 --pipeline.whole-pictures-start 4100 \
	--output-dir outputs --experiment-name bundled --timestamp latest --vis tensorboard
python scripts/write_bundled.py --run outputs/bundled/ig-ae/latest --test-scenes data/autoencoder/test --photos "$photos"

# The decoder of rendered latents: scenes fitted to the bundle by latent supervision, then the decoder alone to their renders;
# and once more from there, with twice the scenes and twice the steps.
learn_decoder() { # DATA NAME ALIGNMENT_START WHOLE_PICTURES_START STEPS SECONDS_IN_ALL
	ns-train latent-triplane --data "$1" --pipeline.model.shared-bundle bundled \
		--pipeline.align-scenes False --write-bundle True --pipeline.rgb-alignment-start "$3" --max-num-iterations "$5" \
		--pipeline.whole-pictures-start "$4" --pipeline.datamanager.images-per-batch 8 --contact-sheet False \
		--output-dir outputs --experiment-name "$2" --timestamp latest --vis tensorboard
	python scripts/add_decoder.py --run "outputs/$2/latent-triplane/latest" --seconds "$6"
}
learn_decoder data/autoencoder/joint decoder 2400 9000 9400 5442
lns demo-scenes --output data/autoencoder/more --num-scenes 256 --views 24 --seed 3000
learn_decoder data/autoencoder/more decoder-more 4800 18200 18800 7540

for name in standard f8; do
	rm -rf "latent_nerfstudio/latent_space/bundled_$name"
	cp -r "outputs/autoencoder/$name/autoencoder" "latent_nerfstudio/latent_space/bundled_$name"
done
