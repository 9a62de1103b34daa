//! The environment of a container: references and files, read at the moment it is created. Values
//! leave this module as secrets only, and no error shows one.

use crate::policy::Policy;
use crate::variables;
use crate::yaml::MAX_BYTES;
use dockswap_core::Color;
use dockswap_core::ports::{ResolveError, Secret};
use dockswap_core::spec::{AppSpec, Segment, Template};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Reading a file may take so long, all in all: it may lie on a network.
const PATIENCE: Duration = Duration::from_secs(10);

/// The environment of one color, sorted by name: `env_file` (later files win), over it
/// `environment`, over that the color's overrides. `controller` looks up the controller's own
/// variables.
///
/// # Errors
/// The first reference or file that cannot be resolved.
pub(crate) async fn resolve(
    spec: &AppSpec,
    color: Color,
    reader: Reader<'_>,
    controller: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Vec<(String, Secret)>, ResolveError> {
    let options = &spec.container;
    let mut resolved: BTreeMap<String, Secret> = BTreeMap::new();
    for path in &options.env_file {
        let error =
            |message: String| ResolveError { owner: "env_file".to_owned(), reference: path.clone(), message };
        let text = reader.read(path).await.map_err(error)?;
        let entries = env_file(&text).map_err(error)?;
        resolved.extend(entries.into_iter().map(|(name, value)| (name, Secret::new(value))));
    }
    let overrides = options.environment_overrides.get(&color).into_iter().flatten();
    let templates: BTreeMap<_, _> = options.environment.iter().chain(overrides).collect();
    for (variable, template) in templates {
        let value = fill(variable, template, reader, controller).await?;
        resolved.insert(variable.clone(), Secret::new(value));
    }
    Ok(resolved.into_iter().collect())
}

/// A template's text with its references in place.
async fn fill(
    variable: &str,
    template: &Template,
    reader: Reader<'_>,
    controller: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<String, ResolveError> {
    let mut text = String::new();
    for segment in &template.0 {
        let (reference, value) = match segment {
            Segment::Literal(literal) => (String::new(), Ok(literal.clone())),
            Segment::Env(name) => {
                let unset =
                    || "the controller has no such variable: set it where dockswap is started".to_owned();
                (format!("${{env:{name}}}"), controller(name).ok_or_else(unset))
            }
            Segment::File(path) => {
                (format!("${{file:{path}}}"), reader.read(path).await.map(without_line_break))
            }
        };
        let value = value.and_then(|value| {
            if value.contains('\0') { Err("it holds a NUL byte".to_owned()) } else { Ok(value) }
        });
        let owner = || format!("environment variable {variable}");
        let error = |message| ResolveError { owner: owner(), reference, message };
        text.push_str(&value.map_err(error)?);
    }
    Ok(text)
}

fn without_line_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// Reads files, as far as they may be read when it does so.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) policy: &'a Policy,
    /// The directory of the app files.
    pub(crate) base: &'a Path,
}

impl Reader<'_> {
    /// The text of a regular file.
    async fn read(self, path: &str) -> Result<String, String> {
        let reading = async {
            // A link may lead somewhere else than when the app file was read.
            let real = tokio::fs::canonicalize(path).await.map_err(|error| error.to_string())?;
            self.policy.check_read(&real, self.base)?;
            let metadata = tokio::fs::metadata(&real).await.map_err(|error| error.to_string())?;
            if !metadata.is_file() {
                return Err("it is not a regular file".to_owned());
            }
            let mut bytes = Vec::new();
            let file = tokio::fs::File::open(&real).await.map_err(|error| error.to_string())?;
            let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
            file.take(limit).read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
            if bytes.len() > MAX_BYTES {
                return Err("it is larger than 1 MiB".to_owned());
            }
            String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
        };
        let late = |_| Err(format!("it could not be read within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(late)
    }
}

/// Whether the host paths of `spec` may be mounted as they are now: a link may lead somewhere else than
/// when the app file was read.
///
/// # Errors
/// The first path that may not.
pub(crate) fn check_mounts(spec: &AppSpec, policy: &Policy) -> Result<(), ResolveError> {
    for volume in spec.container.volumes.iter().filter(|volume| volume.source.starts_with('/')) {
        policy.check_bind_mount(Path::new(&volume.source), volume.read_only).map_err(|message| {
            ResolveError { owner: "volumes".to_owned(), reference: volume.source.clone(), message }
        })?;
    }
    Ok(())
}

/// The variables of an env file: lines of `NAME=value`, blank lines and `#` comments. A value may
/// stand in single quotes (as it is) or double quotes (`\n`, `\t`, `\"`, `\\`); `$` has no meaning.
fn env_file(text: &str) -> Result<Vec<(String, String)>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |message: &str| format!("line {}: {message}", index + 1);
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or_else(|| error("write NAME=value"))?;
        let name = name.trim();
        if variables::trouble(name).is_some() || value.contains('\0') {
            return Err(error("write NAME=value, the name without blanks"));
        }
        let value =
            unquoted(value.trim()).ok_or_else(|| error("a quote is not closed, or text follows it"))?;
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

/// A value without its quotes, or without the comment behind it. `None`: the quotes do not match.
fn unquoted(value: &str) -> Option<String> {
    let only_comment = |rest: &str| rest.trim_start().is_empty() || rest.trim_start().starts_with('#');
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, rest) = rest.split_once('\'')?;
        return only_comment(rest).then(|| inner.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
        return Some(value[..end].trim_end().to_owned());
    };
    let (mut text, mut chars) = (String::new(), rest.chars());
    loop {
        match chars.next()? {
            '"' => return only_comment(chars.as_str()).then_some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                escaped @ ('"' | '\\' | '$') => text.push(escaped),
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, env_file, resolve};
    use crate::policy::Policy;
    use dockswap_core::{AppSpec, Color};
    use std::fs;
    use std::path::Path;

    fn spec(dir: &Path, docker: &str) -> AppSpec {
        let text = format!("name: web\nimage: web:v1\ndocker:\n  expose_port: 80\n{docker}");
        crate::parse_app(Path::new("web.yaml"), text.as_bytes(), dir, &Policy::default()).expect("valid")
    }

    async fn resolved(base: &Path, spec: &AppSpec, color: Color) -> Result<Vec<(String, String)>, String> {
        let controller = |name: &str| (name == "TOKEN").then(|| "t0k3n".to_owned());
        let policy = Policy::default();
        let reader = Reader { policy: &policy, base };
        let values = resolve(spec, color, reader, &controller).await.map_err(|error| error.to_string())?;
        Ok(values.into_iter().map(|(name, secret)| (name, secret.expose().to_owned())).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[tokio::test]
    async fn the_nearer_word_wins() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join("a.env"), "A=a\nB=a\nC=a\nD=a\n").expect("write");
        fs::write(dir.path().join("b.env"), "B=b\nC=b\nD=b\n").expect("write");
        let docker = "  env_file: [a.env, ./b.env]
  environment: { C: c, D: c }
  environment_overrides: { green: { D: green } }
";
        let spec = spec(dir.path(), docker);
        let blue = pairs(&[("A", "a"), ("B", "b"), ("C", "c"), ("D", "c")]);
        assert_eq!(resolved(dir.path(), &spec, Color::Blue).await, Ok(blue));
        let green = pairs(&[("A", "a"), ("B", "b"), ("C", "c"), ("D", "green")]);
        assert_eq!(resolved(dir.path(), &spec, Color::Green).await, Ok(green));
    }

    #[tokio::test]
    async fn references_are_read_anew_each_time() {
        let dir = tempfile::tempdir().expect("temp dir");
        let spec = spec(dir.path(), "  environment: { X: 'a${env:TOKEN}-${file:key}', Y: $5 }\n");
        for key in ["one", "two"] {
            fs::write(dir.path().join("key"), format!("{key}\r\n")).expect("write");
            let expected = pairs(&[("X", &format!("at0k3n-{key}")), ("Y", "$5")]);
            assert_eq!(resolved(dir.path(), &spec, Color::Blue).await, Ok(expected));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_resolved_is_named_without_a_value() {
        let dir = tempfile::tempdir().expect("temp dir");
        let here = dir.path().display();
        fs::write(dir.path().join("bad.env"), "A=1\nhunter2\n").expect("write");
        fs::write(dir.path().join("binary"), [0xff, 0xfe]).expect("write");
        for (docker, message) in [
            (
                "environment: { A: '${env:NONE}' }",
                "${env:NONE} of environment variable A cannot be resolved: the controller has no such variable: set it where dockswap is started".to_owned(),
            ),
            (
                "environment: { A: '${file:none}' }",
                format!("${{file:{here}/none}} of environment variable A cannot be resolved: No such file or directory (os error 2)"),
            ),
            (
                "environment: { A: '${file:.}' }",
                format!("${{file:{here}}} of environment variable A cannot be resolved: it is not a regular file"),
            ),
            (
                "environment: { A: '${file:binary}' }",
                format!("${{file:{here}/binary}} of environment variable A cannot be resolved: it is not UTF-8"),
            ),
            (
                "env_file: bad.env",
                format!("{here}/bad.env of env_file cannot be resolved: line 2: write NAME=value"),
            ),
        ] {
            let spec = spec(dir.path(), &format!("  {docker}\n"));
            assert_eq!(resolved(dir.path(), &spec, Color::Blue).await, Err(message));
        }
    }

    #[test]
    fn lines_of_an_env_file() {
        let text = "\u{feff}# comment\n\nA=1\n export B = two words # no\nC='a # b' # c\nD=\"x\\n\\\"y\\\" \\d\"\r\nE=\nF=a=b#c\n";
        let expected = pairs(&[
            ("A", "1"),
            ("B", "two words"),
            ("C", "a # b"),
            ("D", "x\n\"y\" \\d"),
            ("E", ""),
            ("F", "a=b#c"),
        ]);
        assert_eq!(env_file(text), Ok(expected));
        for bad in ["A", "=x", "A B=x", "A='x", "A=\"x", "A='x'y"] {
            assert!(env_file(bad).is_err(), "{bad}");
        }
    }
}
