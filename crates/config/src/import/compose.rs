//! A Compose file: which of its services become apps, and where each of their fields goes.

use super::interpolate::{Becomes, Unset, expand};
use super::{Draft, Import, Imported};
use serde_yaml::{Mapping, Value};
use std::path::Path;

/// Ports of servers that do not speak HTTP: databases, caches, queues. A proxy is no use to them.
const OTHER_PROTOCOLS: [u16; 10] = [1433, 2181, 3306, 4222, 5432, 5672, 6379, 9092, 11211, 27017];

/// Fields that say the same in an app file, below `docker`.
const SAME: [&str; 9] =
    ["user", "working_dir", "read_only", "tmpfs", "extra_hosts", "ulimits", "init", "command", "entrypoint"];

/// Why nothing was made of a Compose file.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// It cannot be read.
    #[error("it is not YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// It has no services.
    #[error("it has no `services`: is it a Compose file?")]
    NoServices,
    /// A text needs a variable that has no value.
    #[error("services.{service}: {message}")]
    Variable {
        /// Which service.
        service: String,
        /// Which variable, and what to do.
        message: String,
    },
}

/// What all services of a file share.
struct Surroundings<'a> {
    /// What Compose puts before the names of what it makes.
    project: String,
    /// Where relative paths begin.
    dir: &'a Path,
    file: &'a Mapping,
    variables: &'a dyn Fn(&str) -> Option<String>,
}

/// A port as a service publishes it.
struct Port {
    container: u16,
    host: Option<u16>,
}

/// Makes app files of the services of a Compose file that lies in `dir`, `variables` being what Compose would know.
/// Services without a port that HTTP could come in by are left to Compose.
///
/// # Errors
/// When the text is no Compose file, or cannot be completed without a variable that is not set.
pub fn import_compose(
    text: &str,
    dir: &Path,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<Import, ComposeError> {
    let mut root: Value = serde_yaml::from_str(text)?;
    root.apply_merge()?;
    let Value::Mapping(file) = &root else { return Err(ComposeError::NoServices) };
    let Some(Value::Mapping(services)) = file.get("services") else { return Err(ComposeError::NoServices) };
    let called = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let named = file.get("name").and_then(Value::as_str).map(ToOwned::to_owned);
    let project = named.or_else(|| variables("COMPOSE_PROJECT_NAME")).unwrap_or(called);
    let project = project.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    let around = Surroundings { project, dir, file, variables };
    let mut import = Import::default();
    for (name, service) in services {
        let name = name.as_str().unwrap_or_default();
        let Value::Mapping(service) = service else {
            import.left.push(format!("{name}: it says nothing"));
            continue;
        };
        let unset = |Unset(message)| ComposeError::Variable { service: name.to_owned(), message };
        let service = Service { name, fields: service, around: &around };
        match service.import().map_err(unset)? {
            Ok(app) => import.apps.push(app),
            Err(why) => import.left.push(format!("{name}: {why}")),
        }
    }
    Ok(import)
}

struct Service<'a> {
    name: &'a str,
    fields: &'a Mapping,
    around: &'a Surroundings<'a>,
}

impl Service<'_> {
    /// `Err` within: why it is left to Compose.
    fn import(&self) -> Result<Result<Imported, String>, Unset> {
        let ports = self.ports()?;
        let Some(port) = ports.first() else {
            return Ok(Err("no `ports` and no `expose`, so there is nothing to route to".to_owned()));
        };
        if OTHER_PROTOCOLS.contains(&port.container) {
            return Ok(Err(format!("port {} is not one of HTTP", port.container)));
        }
        let mut draft = Draft::new(self.name);
        draft.docker("expose_port", port.container);
        draft.published = port.host;
        for other in &ports[1..] {
            draft.note(format!("port {} is not taken over: an app is served on one port", other.container));
        }
        for (field, value) in self.fields {
            self.take(field.as_str().unwrap_or_default(), value, port, &mut draft)?;
        }
        if draft.image.is_empty() {
            draft.image = format!("{}-{}:latest", self.around.project, self.name);
            draft.note(format!(
                "dockswap builds no images: this is what Compose calls the one that it built; tag each build ({}:v2) so that an edit deploys it",
                draft.image.trim_end_matches(":latest")
            ));
        }
        if self.fields.get("networks").is_none() && self.fields.get("network_mode").is_none() {
            draft.docker("network", self.network("default"));
        }
        Ok(Ok(draft.finish()))
    }

    fn take(&self, field: &str, value: &Value, port: &Port, draft: &mut Draft) -> Result<(), Unset> {
        match field {
            "image" => draft.image = self.text(value)?,
            "environment" => {
                let variables = self.environment(value)?;
                draft.docker("environment", variables);
            }
            "env_file" => {
                let files = self.env_files(value)?;
                draft.note("env_file: dockswap reads such files below its config directory or `policy.files` alone");
                draft.docker("env_file", files);
            }
            "volumes" => self.volumes(value, draft)?,
            "networks" => {
                let names: Vec<&str> = match value {
                    Value::Mapping(names) => names.keys().filter_map(Value::as_str).collect(),
                    Value::Sequence(names) => names.iter().filter_map(Value::as_str).collect(),
                    _ => Vec::new(),
                };
                for other in names.iter().skip(1) {
                    draft.note(format!("network {other} is not joined: an app's containers are in one network"));
                }
                draft.docker("network", self.network(names.first().copied().unwrap_or("default")));
            }
            "labels" => draft.docker("labels", self.labels(value)?),
            "restart" => draft.docker("restart_policy", self.text(value)?),
            "mem_limit" => draft.docker("memory_limit", memory(&self.text(value)?)),
            "cpus" => draft.docker("cpu_limit", self.text(value)?),
            "stop_grace_period" => {
                draft.deployment.insert("stop_timeout".into(), self.text(value)?.into());
            }
            "pull_policy" => match self.text(value)?.as_str() {
                "if_not_present" => draft.docker("pull_policy", "missing"),
                policy @ ("always" | "missing" | "never") => draft.docker("pull_policy", policy),
                other => draft.note(format!("pull_policy: {other} is not taken over")),
            },
            "scale" => draft.replicas = self.text(value)?.parse().ok(),
            "deploy" => self.deploy(value, draft)?,
            "healthcheck" => self.health_check(value, port, draft)?,
            field if SAME.contains(&field) => {
                let value = self.expanded(value)?;
                draft.docker(field, value);
            }
            "ports" | "expose" | "build" | "container_name" | "hostname" | "logging" | "profiles" => {}
            "depends_on" | "links" => draft.note(format!(
                "{field} is not taken over: an app is started whenever it is; let its health check fail until what it needs is there"
            )),
            other if other.starts_with("x-") => {}
            other => draft.note(format!("{other} is not taken over: an app file does not say it")),
        }
        Ok(())
    }

    fn text(&self, value: &Value) -> Result<String, Unset> {
        expand(&scalar(value), self.around.variables, Becomes::Value)
    }

    /// The same, with every text in it completed; numbers and truth values as they are.
    fn expanded(&self, value: &Value) -> Result<Value, Unset> {
        Ok(match value {
            Value::String(_) => self.text(value)?.into(),
            Value::Sequence(items) => {
                Value::Sequence(items.iter().map(|item| self.expanded(item)).collect::<Result<_, _>>()?)
            }
            Value::Mapping(pairs) => Value::Mapping(
                pairs
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), self.expanded(value)?)))
                    .collect::<Result<_, Unset>>()?,
            ),
            other => other.clone(),
        })
    }

    fn environment(&self, value: &Value) -> Result<Value, Unset> {
        let pairs: Vec<(String, Option<String>)> = match value {
            Value::Mapping(pairs) => pairs
                .iter()
                .map(|(name, value)| (scalar(name), (!value.is_null()).then(|| scalar(value))))
                .collect(),
            Value::Sequence(lines) => lines
                .iter()
                .map(|line| {
                    let line = scalar(line);
                    match line.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (line, None),
                    }
                })
                .collect(),
            _ => Vec::new(),
        };
        let mut variables = Mapping::new();
        for (name, value) in pairs {
            let value = match value {
                Some(value) => expand(&value, self.around.variables, Becomes::Reference)?,
                // It is passed on.
                None => format!("${{env:{name}}}"),
            };
            variables.insert(name.into(), value.into());
        }
        Ok(Value::Mapping(variables))
    }

    fn env_files(&self, value: &Value) -> Result<Value, Unset> {
        let files = match value {
            Value::Sequence(files) => files.clone(),
            one => vec![one.clone()],
        };
        let path = |file: &Value| {
            let file = self.text(file.get("path").unwrap_or(file))?;
            Ok(Value::from(self.around.dir.join(file).display().to_string()))
        };
        Ok(Value::Sequence(files.iter().map(path).collect::<Result<_, Unset>>()?))
    }

    fn labels(&self, value: &Value) -> Result<Value, Unset> {
        let Value::Sequence(lines) = value else { return self.expanded(value) };
        let mut labels = Mapping::new();
        for line in lines {
            let line = self.text(line)?;
            let (name, value) = line.split_once('=').unwrap_or((&line, ""));
            labels.insert(name.into(), value.into());
        }
        Ok(Value::Mapping(labels))
    }

    /// First those that are published, in the order of the file.
    fn ports(&self) -> Result<Vec<Port>, Unset> {
        let mut ports = Vec::new();
        for field in ["ports", "expose"] {
            let Some(Value::Sequence(entries)) = self.fields.get(field) else { continue };
            for entry in entries {
                let port = match entry {
                    Value::Mapping(long) => {
                        let number = |field| long.get(field).map(|value| self.text(value)).transpose();
                        let is_tcp = long.get("protocol").is_none_or(|protocol| scalar(protocol) == "tcp");
                        let container =
                            number("target")?.and_then(|text| text.parse().ok()).filter(|_| is_tcp);
                        let host = number("published")?.and_then(|text| text.parse().ok());
                        container.map(|container| Port { container, host })
                    }
                    short => port(&self.text(short)?),
                };
                let known = |port: &Port| ports.iter().any(|known: &Port| known.container == port.container);
                ports.extend(port.filter(|port| !known(port)));
            }
        }
        Ok(ports)
    }

    fn volumes(&self, value: &Value, draft: &mut Draft) -> Result<(), Unset> {
        let Value::Sequence(entries) = value else { return Ok(()) };
        let mut lines: Vec<Value> = Vec::new();
        for entry in entries {
            let (source, target, is_read_only) = match entry {
                Value::Mapping(long) => {
                    let field = |name| long.get(name).map(|value| self.text(value)).transpose();
                    let kind = field("type")?.unwrap_or_default();
                    if kind != "bind" && kind != "volume" {
                        draft.note(format!("a mount of type {kind} is not taken over"));
                        continue;
                    }
                    let read_only = long.get("read_only").and_then(Value::as_bool).unwrap_or(false);
                    (field("source")?.unwrap_or_default(), field("target")?.unwrap_or_default(), read_only)
                }
                short => {
                    let text = self.text(short)?;
                    let mut parts = text.splitn(3, ':');
                    let (source, target) =
                        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                    let is_read_only =
                        parts.next().is_some_and(|mode| mode.split(',').any(|word| word == "ro"));
                    (source.to_owned(), target.to_owned(), is_read_only)
                }
            };
            if target.is_empty() || source.is_empty() {
                draft.note(format!(
                    "an anonymous volume ({source}{target}) is not taken over: give it a name"
                ));
                continue;
            }
            let source = self.source(&source);
            let mode = if is_read_only { ":ro" } else { "" };
            lines.push(format!("{source}:{target}{mode}").into());
        }
        if !lines.is_empty() {
            draft.note("its volumes are shared by both colors: for data that two versions cannot share, write deployment.strategy: recreate");
            draft.docker("volumes", lines);
        }
        Ok(())
    }

    /// A path as an absolute one, or a volume by the name that Docker knows it by.
    fn source(&self, source: &str) -> String {
        if source.starts_with('.') {
            let joined = self.around.dir.join(source);
            return joined.components().collect::<std::path::PathBuf>().display().to_string();
        }
        if source.starts_with(['/', '~']) {
            return source.to_owned();
        }
        self.made("volumes", source)
    }

    fn network(&self, name: &str) -> String {
        self.made("networks", name)
    }

    /// What Docker calls the volume or network that the file calls `name`.
    fn made(&self, kind: &str, name: &str) -> String {
        let declared = self.around.file.get(kind).and_then(|all| all.get(name));
        let named = declared.and_then(|it| it.get("name")).and_then(Value::as_str);
        let is_external =
            declared.and_then(|it| it.get("external")).and_then(Value::as_bool).unwrap_or(false);
        match named {
            Some(named) => named.to_owned(),
            None if is_external => name.to_owned(),
            None => format!("{}_{name}", self.around.project),
        }
    }

    fn deploy(&self, value: &Value, draft: &mut Draft) -> Result<(), Unset> {
        if let Some(replicas) = value.get("replicas") {
            draft.replicas = self.text(replicas)?.parse().ok();
        }
        let limits = value.get("resources").and_then(|resources| resources.get("limits"));
        if let Some(bytes) = limits.and_then(|limits| limits.get("memory")) {
            draft.docker("memory_limit", memory(&self.text(bytes)?));
        }
        if let Some(cpus) = limits.and_then(|limits| limits.get("cpus")) {
            draft.docker("cpu_limit", self.text(cpus)?);
        }
        Ok(())
    }

    /// A check that asks the app over HTTP becomes a probe of the same path; any other is the image's or nobody's.
    fn health_check(&self, value: &Value, port: &Port, draft: &mut Draft) -> Result<(), Unset> {
        let test = match value.get("test") {
            Some(Value::Sequence(words)) => {
                words.iter().map(|word| self.text(word)).collect::<Result<Vec<_>, _>>()?.join(" ")
            }
            Some(line) => self.text(line)?,
            None => String::new(),
        };
        let Some(endpoint) = asked_path(&test, port.container) else {
            draft.note("its health check is a command, which dockswap does not run: write health_check.endpoint, a path that answers 200-399");
            return Ok(());
        };
        draft.health_check.insert("endpoint".into(), endpoint.into());
        for field in ["interval", "timeout", "retries"] {
            if let Some(value) = value.get(field) {
                draft.health_check.insert(field.into(), self.expanded(value)?);
            }
        }
        Ok(())
    }
}

/// A text, a number or a truth value as it is written; nothing of anything else.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        _ => String::new(),
    }
}

/// `[[IP:]HOST:]CONTAINER[/tcp]`; `None`: it is a range, or not TCP.
fn port(text: &str) -> Option<Port> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if protocol != "tcp" {
        return None;
    }
    let mut from_behind = ports.rsplit(':');
    let container = from_behind.next()?.parse().ok()?;
    Some(Port { container, host: from_behind.next().and_then(|host| host.parse().ok()) })
}

/// Compose's `512mb` as an app file's `512m`.
fn memory(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_suffix('b').unwrap_or(&lower);
    let in_bytes: Option<u64> = short.parse().ok();
    in_bytes.map_or_else(|| short.to_owned(), |bytes| format!("{}k", bytes.div_ceil(1024)))
}

/// The path that a command asks of the app itself on `port`.
fn asked_path(command: &str, port: u16) -> Option<String> {
    let (_, url) = command.split_once("http://")?;
    let url = url.split(|c: char| c.is_whitespace() || "'\"|;)".contains(c)).next()?;
    let (authority, path) = url.split_at(url.find('/').unwrap_or(url.len()));
    let (host, asked) = authority.split_once(':').unwrap_or((authority, "80"));
    let is_itself = ["localhost", "127.0.0.1", "0.0.0.0"].contains(&host);
    let fits = is_itself && asked.parse() == Ok(port);
    fits.then(|| if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, parse_app};

    fn import(text: &str) -> Import {
        let variables = |name: &str| (name == "TAG").then(|| "v1".to_owned());
        import_compose(text, Path::new("/srv/shop"), &variables).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_service_becomes_an_app_and_a_database_is_left() {
        let import = import(
            r#"
x-common: &common
  restart: unless-stopped
  mem_limit: 512mb
services:
  web_api:
    <<: *common
    image: registry.example.com/shop/web:${TAG}
    ports: ["127.0.0.1:8081:8080", "9100:9100"]
    environment:
      DATABASE_URL: postgres://shop:${PASSWORD}@db/shop
      PORT: 8080
      DEBUG:
    command: ["serve", "--all"]
    volumes: ["uploads:/app/uploads", "./catalog:/app/catalog:ro"]
    depends_on: [db]
    healthcheck:
      test: ["CMD-SHELL", "curl -f http://localhost:8080/health || exit 1"]
      interval: 5s
    deploy: { replicas: 2, resources: { limits: { cpus: "0.5" } } }
    cap_add: [NET_ADMIN]
  worker: { image: "shop/worker:v1" }
  db: { image: "postgres:17", ports: ["5432:5432"] }
volumes:
  uploads: {}
"#,
        );
        assert_eq!(import.left.len(), 2, "{:?}", import.left);
        let [app] = &import.apps[..] else { panic!("{:?}", import.apps) };
        assert_eq!(app.name, "web-api");
        let parsed = parse_app(Path::new("x"), app.text.as_bytes(), Path::new("/"), &Policy::default());
        let spec = parsed.unwrap_or_else(|problems| panic!("{problems:?}\n{}", app.text));
        assert_eq!(spec.image, "registry.example.com/shop/web:v1");
        assert_eq!((spec.replicas, spec.container.expose_port), (2, 8080));
        assert_eq!(spec.container.network, "shop_default");
        for expected in [
            "postgres://shop:${env:PASSWORD}@db/shop",
            "DEBUG: ${env:DEBUG}",
            "shop_uploads:/app/uploads",
            "/srv/shop/catalog:/app/catalog:ro",
            "endpoint: /health",
            "listen_port: 8081",
            "# cap_add is not taken over",
            "# port 9100 is not taken over",
            "# depends_on is not taken over",
        ] {
            assert!(app.text.contains(expected), "{expected} is missing:\n{}", app.text);
        }
    }

    #[test]
    fn what_is_built_gets_the_name_that_compose_gives_it() {
        let import = import("services: { web: { build: ., ports: ['80:3000'] } }");
        assert!(import.apps[0].text.contains("image: shop-web:latest"), "{}", import.apps[0].text);
        assert!(import.apps[0].notes.iter().any(|note| note.contains("builds no images")));
    }

    #[test]
    fn what_is_no_compose_file_says_so() {
        let none = |_: &str| None;
        for (text, expected) in [
            ("a: [", "not YAML"),
            ("[]", "no `services`"),
            ("services: { a: { image: $X, expose: [1] } }", "services.a: X has no value"),
        ] {
            let error = import_compose(text, Path::new("/x"), &none).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn ports_and_sizes_are_read_as_compose_does() {
        let read = |text: &str| port(text).map(|port| (port.container, port.host));
        assert_eq!(read("8080"), Some((8080, None)));
        assert_eq!(read("80:8080/tcp"), Some((8080, Some(80))));
        assert_eq!(read("[::1]:80:8080"), Some((8080, Some(80))));
        assert_eq!(read("53:53/udp"), None);
        assert_eq!(read("3000-3005:3000-3005"), None);
        assert_eq!([memory("512mb"), memory("1G"), memory("1048576")], ["512m", "1g", "1024k"]);
        assert_eq!(asked_path("curl http://127.0.0.1:80", 80).as_deref(), Some("/"));
        assert_eq!(asked_path("wget -q http://db:80/x", 80), None);
    }
}
