//! A registry that has one image, of any size: for what goes wrong while an image comes in. Docker speaks
//! plain HTTP to a registry on 127.0.0.0/8.

use crate::command::Done;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The registry, for as long as the process lives.
#[derive(Debug)]
pub struct ImageStore {
    port: u16,
}

impl ImageStore {
    /// One whose image has a file of so many MiB, and nothing to run.
    #[must_use]
    pub fn of_mebibytes(count: u64) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let (file, layer) = (home.path().join("big"), home.path().join("layer"));
        std::fs::File::create(&file).and_then(|file| file.set_len(count << 20)).expect("a big file");
        let mut tar = Command::new("tar");
        let _ = Done::of(tar.arg("-C").arg(home.path()).arg("-cf").arg(&layer).arg("big")).exits(0);
        std::fs::remove_file(file).expect("the big file");
        let mut blobs = BTreeMap::new();
        let layer = digest(&layer);
        let mut keep = |name: &str, bytes: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, bytes).expect("a blob");
            let digest = digest(&path);
            blobs.insert(digest.clone(), (name.to_owned(), bytes.len() as u64));
            digest
        };
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/big"]}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let config_digest = keep("config", &config);
        let size = std::fs::metadata(home.path().join("layer")).expect("the layer").len();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","size":{},"digest":"{config_digest}"}},"layers":[{{"mediaType":"{LAYER}","size":{size},"digest":"{layer}"}}]}}"#,
            config.len()
        );
        let manifest = keep("manifest", &manifest);
        blobs.insert(layer, ("layer".to_owned(), size));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let image = Arc::new(Image { home, blobs, manifest });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let image = Arc::clone(&image);
                // A peer that goes away is its own business.
                std::thread::spawn(move || drop(image.answer(&stream)));
            }
        });
        Self { port }
    }

    /// The reference of its image.
    #[must_use]
    pub fn image(&self) -> String {
        format!("127.0.0.1:{}/big/app:v1", self.port)
    }
}

/// `sha256:…` of a file, by `sha256sum`.
fn digest(path: &Path) -> String {
    let done = Done::of(Command::new("sha256sum").arg(path)).exits(0);
    format!("sha256:{}", done.stdout.split_whitespace().next().expect("a hash"))
}

#[derive(Debug)]
struct Image {
    home: TempDir,
    /// By digest: the file's name and size.
    blobs: BTreeMap<String, (String, u64)>,
    manifest: String,
}

impl Image {
    /// Answers one request, and closes.
    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let question = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = question.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let asked = path.rsplit('/').next().unwrap_or_default();
        let digest = if asked == "v1" { self.manifest.as_str() } else { asked };
        let Some((name, size)) = self.blobs.get(digest) else {
            let status = if path == "/v2/" { "200 OK" } else { "404 Not Found" };
            return write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        };
        let kind = if name == "manifest" { MANIFEST } else { "application/octet-stream" };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ndocker-content-digest: {digest}\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n"
        )?;
        if method == "HEAD" {
            return Ok(());
        }
        let mut file = std::fs::File::open(self.home.path().join(name))?;
        std::io::copy(&mut file, &mut stream).map(drop)
    }
}
