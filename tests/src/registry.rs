//! A registry that has no image: for the days on which a name is wrong, or nobody answers. Docker
//! speaks plain HTTP to a registry on 127.0.0.0/8.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What it does when it is asked for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryMood {
    /// Says that it has no such image.
    KnowsNothing,
    /// Takes the question and never answers.
    Silent,
}

/// A registry, for as long as the process lives.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    mood: Arc<Mutex<RegistryMood>>,
}

impl Registry {
    /// Opens one.
    #[must_use]
    pub fn open(mood: RegistryMood) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mood = Arc::new(Mutex::new(mood));
        let present = Arc::clone(&mood);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mood = *present.lock().unwrap_or_else(PoisonError::into_inner);
                // A peer that goes away is its own business.
                std::thread::spawn(move || drop(answer(stream, mood)));
            }
        });
        Self { port, mood }
    }

    /// From now on, questions are answered in another mood.
    pub fn turns(&self, mood: RegistryMood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// The reference of an image in it.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }
}

fn answer(mut stream: TcpStream, mood: RegistryMood) -> std::io::Result<()> {
    let mut bytes = [0; 8_192];
    let count = stream.read(&mut bytes)?;
    if mood == RegistryMood::Silent {
        stream.set_read_timeout(Some(Duration::from_secs(300)))?;
        // Ends when the peer has lost its patience.
        return stream.read(&mut bytes).map(drop);
    }
    let question = String::from_utf8_lossy(&bytes[..count]);
    let (status, body) = if question.contains(" /v2/ ") {
        ("200 OK", "{}")
    } else {
        ("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ndocker-distribution-api-version: registry/2.0\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
