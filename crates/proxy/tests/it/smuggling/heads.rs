//! What a head can say in two ways: lengths, transfer encodings, ends of lines, names and values.

use super::{Case, Then, arrives, passes, refused};

/// A request with `line` in its head and `body` behind it.
fn post(line: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n{body}")
}

const CHUNKED: &str = "5\r\nhello\r\n0\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// CL.CL, and lengths that are no plain number.
pub(super) fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, line) in [
        ("plain", "Content-Length: 5"),
        ("lower case", "content-length: 5"),
        ("upper case", "CONTENT-LENGTH: 5"),
        ("no space", "Content-Length:5"),
        ("spaces around", "Content-Length:   5  "),
        ("tabs around", "Content-Length:\t5\t"),
        ("leading zeros", "Content-Length: 005"),
        ("very many leading zeros", "Content-Length: 00000000000000000000000000000005"),
    ] {
        cases.push(passes(&format!("length: {name}"), post(line, "hello"), "hello"));
    }
    for (name, line) in [
        ("twice the same", "Content-Length: 5\r\nContent-Length: 5"),
        ("twice the same in another case", "Content-Length: 5\r\ncontent-length: 5"),
        ("two", "Content-Length: 5\r\nContent-Length: 6"),
        ("two, the other first", "Content-Length: 6\r\nContent-Length: 5"),
        ("two, zero first", "Content-Length: 0\r\nContent-Length: 5"),
        ("two, zero last", "Content-Length: 5\r\nContent-Length: 0"),
        ("two far apart", "Content-Length: 5\r\nX: y\r\nContent-Length: 0"),
        ("list", "Content-Length: 5, 5"),
        ("list of two", "Content-Length: 5, 6"),
        ("list without space", "Content-Length: 5,5"),
        ("trailing comma", "Content-Length: 5,"),
        ("leading comma", "Content-Length: ,5"),
        ("two numbers", "Content-Length: 5 5"),
        ("two numbers with a tab", "Content-Length: 5\t5"),
        ("plus", "Content-Length: +5"),
        ("minus", "Content-Length: -5"),
        ("minus zero", "Content-Length: -0"),
        ("hexadecimal", "Content-Length: 0x5"),
        ("hexadecimal letters", "Content-Length: f"),
        ("octal", "Content-Length: 0o5"),
        ("underscore", "Content-Length: 0_5"),
        ("point", "Content-Length: 5.0"),
        ("exponent", "Content-Length: 5e0"),
        ("semicolon", "Content-Length: 5;"),
        ("quoted", "Content-Length: \"5\""),
        ("nothing", "Content-Length:"),
        ("space alone", "Content-Length:  "),
        ("2^64", "Content-Length: 18446744073709551616"),
        ("2^64 + 5", "Content-Length: 18446744073709551621"),
        ("2^64 - 1", "Content-Length: 18446744073709551615"),
        ("forty digits", "Content-Length: 5000000000000000000000000000000000000000"),
        ("vertical tab", "Content-Length: \x0b5"),
        ("form feed", "Content-Length: 5\x0c"),
        ("no-break space", "Content-Length: \u{a0}5"),
        ("other digits", "Content-Length: \u{665}"),
        ("NUL", "Content-Length: 5\0"),
        ("space before the colon", "Content-Length : 5"),
        ("tab before the colon", "Content-Length\t: 5"),
    ] {
        cases.push(refused(&format!("length: {name}"), post(line, "hello")));
    }
    let longer = refused("length: longer than the body", post("Content-Length: 100000", SMUGGLED));
    cases.push(Case { then: Then::Endless, ..longer });
    // Without a length there is no body, whatever the method: what follows is the next request.
    let shy = arrives("length: none", post("X: y", ""), ("POST", "/a", "a", ""));
    cases.push(shy);
    for (name, line) in
        [("underscore in the name", "Content_Length: 5"), ("named otherwise", "X-Content-Length: 5")]
    {
        let case = arrives(&format!("length: {name}"), post(line, "hello\r\n"), ("POST", "/a", "a", ""));
        cases.push(Case { then: Then::Closed, ..case });
    }
    cases
}

/// CL.TE, TE.CL and TE.TE: each way to disguise the encoding, alone and beside a length.
pub(super) fn encodings() -> Vec<Case> {
    let plain = [
        ("plain", "Transfer-Encoding: chunked"),
        ("name in lower case", "transfer-encoding: chunked"),
        ("name in mixed case", "tRANSFER-eNCODING: chunked"),
        ("value in upper case", "Transfer-Encoding: CHUNKED"),
        ("value in mixed case", "Transfer-Encoding: Chunked"),
        ("no space", "Transfer-Encoding:chunked"),
        ("spaces around", "Transfer-Encoding:   chunked   "),
        ("tabs around", "Transfer-Encoding:\tchunked\t"),
    ];
    let disguised = [
        ("twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("twice in a list", "Transfer-Encoding: chunked, chunked"),
        ("and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("after identity", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        ("identity in a list", "Transfer-Encoding: identity, chunked"),
        ("identity last in a list", "Transfer-Encoding: chunked, identity"),
        ("gzip first", "Transfer-Encoding: gzip, chunked"),
        ("gzip alone", "Transfer-Encoding: gzip"),
        ("identity alone", "Transfer-Encoding: identity"),
        ("trailing comma", "Transfer-Encoding: chunked,"),
        ("leading comma", "Transfer-Encoding: ,chunked"),
        ("xchunked", "Transfer-Encoding: xchunked"),
        ("x-chunked", "Transfer-Encoding: x-chunked"),
        ("chunkedx", "Transfer-Encoding: chunkedx"),
        ("chunk", "Transfer-Encoding: chunk"),
        ("two words", "Transfer-Encoding: x chunked"),
        ("parameter", "Transfer-Encoding: chunked;q=1"),
        ("semicolon", "Transfer-Encoding: chunked;"),
        ("quoted", "Transfer-Encoding: \"chunked\""),
        ("quoted once", "Transfer-Encoding: 'chunked'"),
        ("brackets", "Transfer-Encoding: [chunked]"),
        ("nothing", "Transfer-Encoding:"),
        ("vertical tab before", "Transfer-Encoding: \x0bchunked"),
        ("vertical tab after", "Transfer-Encoding: chunked\x0b"),
        ("form feed", "Transfer-Encoding: \x0cchunked"),
        ("NUL", "Transfer-Encoding: chunked\0"),
        ("control byte", "Transfer-Encoding: \x01chunked"),
        ("delete", "Transfer-Encoding: chunked\x7f"),
        ("no-break space", "Transfer-Encoding: \u{a0}chunked"),
        ("Kelvin sign", "Transfer-Encoding: chun\u{212a}ed"),
        ("space before the colon", "Transfer-Encoding : chunked"),
        ("tab before the colon", "Transfer-Encoding\t: chunked"),
        ("vertical tab before the colon", "Transfer-Encoding\x0b: chunked"),
        ("NUL before the colon", "Transfer-Encoding\0: chunked"),
        ("no colon", "Transfer-Encoding chunked"),
        ("equals sign", "Transfer-Encoding=chunked"),
        ("space before the name", " Transfer-Encoding: chunked"),
        ("tab before the name", "\tTransfer-Encoding: chunked"),
        ("folded", "Transfer-Encoding:\r\n chunked"),
        ("folded with a tab", "Transfer-Encoding:\r\n\tchunked"),
        ("folded after", "Transfer-Encoding: chunked\r\n , identity"),
        ("name folded", "Transfer-Encoding\r\n : chunked"),
        ("behind a bare LF", "X: y\nTransfer-Encoding: chunked"),
        ("behind a bare CR", "X: y\rTransfer-Encoding: chunked"),
        ("bare LF in the value", "Transfer-Encoding: \nchunked"),
        ("bare CR in the value", "Transfer-Encoding: \rchunked"),
        ("ended by LF", "Transfer-Encoding: chunked\nX: y"),
        ("ended by CR CR LF", "Transfer-Encoding: chunked\r\r\nX: y"),
    ];
    let mut cases = Vec::new();
    for (name, line) in plain {
        cases.push(passes(&format!("encoding: {name}"), post(line, CHUNKED), "hello"));
        // What is read by its chunks is refused by a length beside it, in either order.
        for (order, line) in [
            ("CL.TE", format!("Content-Length: 6\r\n{line}")),
            ("TE.CL", format!("{line}\r\nContent-Length: 6")),
        ] {
            let body = format!("0\r\n\r\n{SMUGGLED}");
            cases.push(refused(&format!("{order}: {name}"), post(&line, &body)));
        }
    }
    for (name, line) in disguised {
        cases.push(refused(&format!("TE: {name}"), post(line, CHUNKED)));
        let body = format!("0\r\n\r\n{SMUGGLED}");
        cases.push(refused(&format!("CL.TE: {name}"), post(&format!("Content-Length: 6\r\n{line}"), &body)));
        cases.push(refused(&format!("TE.CL: {name}"), post(&format!("{line}\r\nContent-Length: 6"), &body)));
    }
    for length in ["0", "5", "", "x"] {
        let line = format!("Content-Length: {length}\r\nTransfer-Encoding: chunked");
        cases.push(refused(&format!("CL.TE with length {length:?}"), post(&line, CHUNKED)));
    }
    // A name that only some take for the other one decides nothing, and the length holds.
    for name in ["Transfer_Encoding", "X-Transfer-Encoding", "Transfer-Encoding-X"] {
        let line = format!("{name}: chunked\r\nContent-Length: 5");
        cases.push(passes(&format!("no encoding: {name}"), post(&line, "hello"), "hello"));
    }
    cases.push(refused(
        "encoding: in HTTP/1.0",
        format!("POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}"),
    ));
    for hop in ["transfer-encoding", "Transfer-Encoding, close-not", "content-length", "host"] {
        let line = format!("Connection: {hop}\r\nTransfer-Encoding: chunked");
        cases.push(passes(&format!("encoding: and Connection: {hop}"), post(&line, CHUNKED), "hello"));
    }
    let line = "Connection: content-length\r\nContent-Length: 5";
    cases.push(passes("length: and Connection: content-length", post(line, "hello"), "hello"));
    let line = "TE: trailers, chunked\r\nTransfer-Encoding: chunked";
    cases.push(passes("encoding: and TE", post(line, CHUNKED), "hello"));
    cases
}

/// Ends of lines, folding, names and values.
pub(super) fn fields() -> Vec<Case> {
    let mut cases = Vec::new();
    let get = |line: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    for (name, line) in [
        ("plain", "X: y"),
        ("tab within the value", "X: y\tz"),
        ("empty value", "X:"),
        ("colons in the value", "X: y: z:"),
        ("every punctuation of names", "!#$%&'*+-.^_`|~0: y"),
        ("quoted value", "X: \"y, z\""),
    ] {
        cases.push(arrives(&format!("field: {name}"), get(line), ("GET", "/a", "a", "")));
    }
    for (name, line) in [
        ("NUL in the value", "X: y\0z"),
        ("control byte in the value", "X: y\x01z"),
        ("escape in the value", "X: \x1b[2J"),
        ("delete in the value", "X: y\x7f"),
        ("bare CR in the value", "X: y\rz"),
        ("bare CR at the end of the value", "X: y\r"),
        ("bare LF in the value", "X: y\nz: w"),
        ("bare LF before the head's end", "X: y\n"),
        ("NUL in the name", "X\0: y"),
        ("control byte in the name", "X\x01: y"),
        ("bare CR in the name", "X\rY: z"),
        ("space in the name", "X Y: z"),
        ("space before the colon", "X : y"),
        ("parenthesis in the name", "X(: y"),
        ("quote in the name", "X\": y"),
        ("slash in the name", "X/Y: z"),
        ("at sign in the name", "X@Y: z"),
        ("letter beyond ASCII in the name", "X\u{e9}: y"),
        ("no name", ": y"),
        ("no colon", "X"),
        ("space alone", " "),
        ("folded", "X: y\r\n z"),
        ("folded with a tab", "X: y\r\n\tz"),
        ("folded into a field", "X: y\r\n Content-Length: 5"),
        ("folded with nothing", "X: y\r\n "),
    ] {
        cases.push(refused(&format!("field: {name}"), get(line)));
    }
    for (name, head) in [
        ("first field folded", "GET /a HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("LF after the request line", "GET /a HTTP/1.1\nHost: a\r\n\r\n"),
        ("LF after a field", "GET /a HTTP/1.1\r\nHost: a\n\r\n"),
        ("LF at the head's end", "GET /a HTTP/1.1\r\nHost: a\r\n\n"),
        ("LF everywhere", "GET /a HTTP/1.1\nHost: a\n\n"),
        ("CR alone everywhere", "GET /a HTTP/1.1\rHost: a\r\r\r\n\r\n"),
        ("CR CR LF", "GET /a HTTP/1.1\r\nHost: a\r\r\n\r\r\n"),
        ("LF CR", "GET /a HTTP/1.1\n\rHost: a\n\r\n\r"),
        ("LF before the request", "\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("CR before the request", "\rGET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("space before the request", " GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        cases.push(refused(&format!("lines: {name}"), head));
    }
    let get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    cases.push(arrives("lines: empty lines before", format!("\r\n\r\n{get}"), ("GET", "/a", "a", "")));
    cases.push(arrives("lines: an empty line behind", format!("{get}\r\n"), ("GET", "/a", "a", "")));
    let behind = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\n";
    cases.push(passes("lines: an empty line behind a body", behind, "hello"));
    cases
}
