//! Connections that have asked once and then rest: what they cost in memory.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// How many.
pub(crate) const CONNECTIONS: usize = 1000;

/// Opens them, asks once on each before the first answer is read, and reads all answers. They rest until this
/// is dropped.
pub(crate) fn connections(port: u16) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    let mut connections: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
    for connection in &mut connections {
        connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        connection.write_all(b"GET /tiny HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request sent");
    }
    for connection in &mut connections {
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut buffer = [0; 1024];
            let count = connection.read(&mut buffer).expect("an answer");
            answer.extend_from_slice(&buffer[..count]);
            assert!(count > 0, "no answer: {}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
    connections
}
