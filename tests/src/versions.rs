//! Ever new versions of one image, each with bytes of its own: for disks that fill up. They are made of an image of the
//! machine's Docker.

use crate::command::Done;
use crate::docker::Docker;
use crate::image_store::{CONFIG, Image, LAYER, MANIFEST, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// An image of which there are ever new versions.
#[derive(Debug)]
pub(crate) struct Base {
    home: TempDir,
    config: Value,
    /// The files of its layers, lowest first.
    layers: Vec<String>,
}

impl Base {
    /// That of the machine's Docker with this name.
    pub(crate) fn of(image: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let saved = home.path().join("saved.tar");
        Docker::default().run(&["save", "-o", &saved.display().to_string(), image]);
        let _ = Done::of(Command::new("tar").arg("-C").arg(home.path()).arg("-xf").arg(&saved)).exits(0);
        let read = |name: &str| -> Value {
            let bytes = std::fs::read(home.path().join(name)).expect("a file of the image");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        let manifest = read("manifest.json");
        let config = read(manifest[0]["Config"].as_str().expect("a config"));
        let layers = manifest[0]["Layers"].as_array().expect("layers").iter();
        let layers = layers.map(|layer| layer.as_str().expect("a layer").to_owned()).collect();
        Self { home, config, layers }
    }

    /// Another version of it, which has so many MiB more that no other has and nothing can make smaller.
    pub(crate) fn version(&self, mebibytes: u64) -> Image {
        let home = tempfile::tempdir().expect("a directory");
        let (ballast, layer) = (home.path().join("ballast"), home.path().join("layer"));
        let mut random = File::open("/dev/urandom").expect("chance").take(mebibytes << 20);
        let mut file = File::create(&ballast).expect("a file");
        std::io::copy(&mut random, &mut file).expect("random bytes");
        let mut tar = Command::new("tar");
        let _ = Done::of(tar.arg("-C").arg(home.path()).arg("-cf").arg(&layer).arg("ballast")).exits(0);
        std::fs::remove_file(ballast).expect("the ballast");
        let mut blobs = BTreeMap::new();
        let mut keep = |path: &Path, name: &str| {
            let length = path.metadata().expect("a blob").len();
            let digest = digest(path);
            blobs.insert(digest.clone(), (name.to_owned(), length));
            (digest, length)
        };
        let mut layers = Vec::new();
        for (number, name) in self.layers.iter().enumerate() {
            let here = format!("layer-{number}");
            std::fs::copy(self.home.path().join(name), home.path().join(&here)).expect("a layer");
            layers.push(keep(&home.path().join(&here), &here));
        }
        layers.push(keep(&layer, "layer"));
        let mut config = self.config.clone();
        let diff = json!(layers.last().expect("the new layer").0);
        config["rootfs"]["diff_ids"].as_array_mut().expect("layers").push(diff);
        // It tells of one layer less.
        config.as_object_mut().expect("a mapping").remove("history");
        let write = |name: &str, value: &Value| {
            let path = home.path().join(name);
            std::fs::write(&path, value.to_string()).expect("a blob");
            path
        };
        let config = keep(&write("config", &config), "config");
        let described =
            |kind: &str, blob: &(String, u64)| json!({ "mediaType": kind, "size": blob.1, "digest": blob.0 });
        let layers: Vec<Value> = layers.iter().map(|blob| described(LAYER, blob)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": described(CONFIG, &config), "layers": layers,
        });
        let (manifest, _) = keep(&write("manifest", &manifest), "manifest");
        Image { home, blobs, manifest }
    }
}
