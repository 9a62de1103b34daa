//! App files as people write them: what is accepted, and what is said about what is not.

use dockswap_config::{HostPortRule, Policy, Problem, parse_app};
use dockswap_core::AppSpec;
use dockswap_core::limits::TrafficLimits;
use dockswap_core::spec::{
    HostPattern, HttpCheck, OnRegression, Promotion, PullPolicy, RestartPolicy, Route, Segment, Strategy,
    Template, Ulimit, Volume,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn parse(text: &str) -> Result<AppSpec, Vec<Problem>> {
    parse_app(Path::new("web.yaml"), text.as_bytes(), Path::new("/cfg/apps"), &Policy::default())
}

fn accepted(text: &str) -> AppSpec {
    parse(text).unwrap_or_else(|problems| panic!("{text}\n{}", lines(&problems)))
}

fn refused(text: &str) -> String {
    lines(&parse(text).expect_err(text))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| problem.to_string() + "\n").collect()
}

/// A valid file whose last lines are `rest`.
fn with(rest: &str) -> String {
    format!("name: web\nimage: web:v1\ndocker: {{ expose_port: 80 }}\n{rest}\n")
}

/// A valid file with a line of the `docker` section.
fn docker(line: &str) -> String {
    format!("name: web\nimage: web:v1\ndocker:\n  expose_port: 80\n  {line}\n")
}

const PRODUCT: &str = r#"name: "web-api"
image: "myapp:v1"
docker: { memory_limit: "512m", environment: { DATABASE_URL: "postgres://localhost/webapi" }, expose_port: 8080 }
ports: { blue: 8081, green: 8082 }
health_check: { endpoint: "/health", timeout: "5s", retries: 3 }
"#;

#[test]
fn the_file_of_the_contract() {
    let spec = accepted(PRODUCT);
    assert_eq!(spec.name.as_str(), "web-api");
    assert_eq!(spec.image, "myapp:v1");
    assert_eq!(spec.container.memory_limit_bytes, Some(536_870_912));
    assert_eq!(spec.container.environment["DATABASE_URL"], Template::literal("postgres://localhost/webapi"));
    assert_eq!((spec.host_ports.blue, spec.host_ports.green), (Some(8081), Some(8082)));
    let expected_status = vec![(200, 399)];
    let http = HttpCheck { endpoint: "/health".into(), method: "GET".into(), expected_status };
    assert_eq!(spec.health_check.http, Some(http));
}

#[test]
fn what_is_left_out_has_its_default() {
    let spec = accepted(&with(""));
    assert_eq!((spec.replicas, spec.description.as_ref(), spec.project.as_ref()), (1, None, None));
    assert_eq!(spec.container.restart_policy, RestartPolicy::UnlessStopped);
    assert_eq!(spec.container.pull_policy, PullPolicy::Missing);
    assert_eq!(spec.container.network, "dockswap");
    assert_eq!(spec.health_check.http, None);
    let seconds = Duration::from_secs;
    let check = &spec.health_check;
    assert_eq!(
        (check.interval, check.timeout, check.retries, check.success_threshold),
        (seconds(2), seconds(5), 3, 1)
    );
    let policy = &spec.deployment;
    assert_eq!((policy.startup_delay, policy.startup_timeout), (seconds(0), seconds(60)));
    assert_eq!((policy.drain_timeout, policy.stop_timeout), (seconds(30), seconds(15)));
    assert_eq!((policy.watch, policy.rollback_window), (seconds(10), seconds(300)));
    assert_eq!((policy.on_regression, policy.promotion), (OnRegression::RollBack, Promotion::Auto));
    let host = HostPattern::Exact("web.localhost".to_owned());
    let route =
        Route { host, path_prefix: "/".to_owned(), strip_prefix: false, listen_port: None, tls: None };
    assert_eq!(spec.routes, [route]);
}

#[test]
fn a_strategy_is_chosen_and_does_not_wait_for_an_operator() {
    let strategy = |rest: &str| accepted(&with(rest)).deployment.strategy;
    assert_eq!(strategy(""), Strategy::BlueGreen);
    assert_eq!(strategy("deployment: { strategy: blue_green }"), Strategy::BlueGreen);
    assert_eq!(strategy("deployment: { strategy: recreate, promotion: auto }"), Strategy::Recreate);
    let both = refused(&with("deployment: { strategy: recreate, promotion: manual }"));
    assert!(
        both.contains("deployment.promotion: promotion: manual cannot be had with strategy: recreate"),
        "{both}"
    );
    let neither = refused(&with("deployment: { strategy: rolling }"));
    assert!(neither.contains("write blue_green or recreate"), "{neither}");
}

#[test]
fn layout_and_comments_change_nothing() {
    let other = r"# The API.
health_check:
    retries: 3 # three
    timeout: 5s
    endpoint: '/health'
ports:
    green: 8082
    blue:  8081
docker:
    expose_port: 8080
    environment:
      - DATABASE_URL=postgres://localhost/webapi
    memory_limit: 512M
image: myapp:v1

name: web-api
";
    assert_eq!(accepted(other), accepted(PRODUCT));
    assert_eq!(accepted(&PRODUCT.replace('\n', "\r\n")), accepted(PRODUCT));
    assert_eq!(accepted(&format!("\u{feff}{PRODUCT}")), accepted(PRODUCT));
    assert_ne!(accepted(&PRODUCT.replace("myapp:v1", "myapp:v2")), accepted(PRODUCT));
}

#[test]
fn the_docker_section_as_compose_spells_it() {
    let container = |line: &str| accepted(&docker(line)).container;
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    assert_eq!(container("command: serve --name 'a b' $X").command, words(&["serve", "--name", "a b", "$X"]));
    assert_eq!(container("entrypoint: [sleep, 5]").entrypoint, words(&["sleep", "5"]));
    assert_eq!(container("user: 1000").user.as_deref(), Some("1000"));
    assert_eq!(container("user: 1000:1000").user.as_deref(), Some("1000:1000"));
    let environment =
        container("environment: { PORT: 8080, ON: true, V: 1.10, E: '', T: '${env:T}' }").environment;
    let value = |name: &str| environment[name].clone();
    assert_eq!(
        [value("PORT"), value("ON"), value("V"), value("E")],
        ["8080", "true", "1.10", ""].map(Template::literal)
    );
    assert_eq!(value("T"), Template(vec![Segment::Env("T".to_owned())]));
    let file = &container("environment: ['K=${file:keys/../k}']").environment["K"];
    assert_eq!(file, &Template(vec![Segment::File("/cfg/apps/k".to_owned())]));
    assert_eq!(container("env_file: a.env").env_file, ["/cfg/apps/a.env"]);
    assert_eq!(
        container("env_file: [/run/secrets/a.env, ./b.env]").env_file,
        ["/run/secrets/a.env", "/cfg/apps/b.env"]
    );
    assert_eq!(container("labels: { a: 1, b: '' }").labels["a"], "1");
    assert_eq!(container("labels: [a=1, b]").labels["b"], "");
    assert_eq!(container("tmpfs: /tmp").tmpfs["/tmp"], "");
    assert_eq!(container("tmpfs: ['/tmp:size=64m', /run]").tmpfs["/tmp"], "size=64m");
    assert_eq!(container("extra_hosts: ['db:10.0.0.5', 'h=::1']").extra_hosts, ["db:10.0.0.5", "h:::1"]);
    assert_eq!(container("extra_hosts: { h: host-gateway }").extra_hosts, ["h:host-gateway"]);
    assert_eq!(container("ulimits: { nofile: 1024 }").ulimits["nofile"], Ulimit { soft: 1024, hard: 1024 });
    let unlimited = Ulimit { soft: 0, hard: -1 };
    assert_eq!(container("ulimits: { core: { soft: 0, hard: -1 } }").ulimits["core"], unlimited);
    let volume = |source: &str, target: &str, read_only| Volume {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    };
    let volumes = container("volumes: ['data:/data', '/srv/x/:/x:ro', './y:/y:rw']").volumes;
    let expected =
        [volume("data", "/data", false), volume("/srv/x", "/x", true), volume("/cfg/apps/y", "/y", false)];
    assert_eq!(volumes, expected);
    assert_eq!(container("cpu_limit: 1.5").cpu_limit_nanos, Some(1_500_000_000));
    for (text, policy) in [
        ("no", RestartPolicy::No),
        ("always", RestartPolicy::Always),
        ("on-failure", RestartPolicy::OnFailure(None)),
        ("on-failure:3", RestartPolicy::OnFailure(Some(3))),
    ] {
        assert_eq!(container(&format!("restart_policy: {text}")).restart_policy, policy);
    }
    let anchored = "name: web\nimage: web:v1\ndocker:\n  expose_port: 80\n  environment: &e { A: 1 }\n  environment_overrides: { blue: *e }\n";
    let container = accepted(anchored).container;
    assert_eq!(container.environment_overrides[&dockswap_core::Color::Blue], container.environment);
}

#[test]
fn routes_in_their_three_spellings() {
    let routes =
        |rest: &str| accepted(&with(rest)).routes.iter().map(ToString::to_string).collect::<Vec<_>>();
    let listed = "routes:\n- { host: App.Example.COM., path_prefix: /api/ }\n- { host: '*.x.org', tls: false }\n- { listen_port: 9000 }";
    assert_eq!(routes(listed), ["app.example.com/api", "*.x.org/", "*:9000/"]);
    assert_eq!(routes("proxy: { listen_port: 9000, host: a.b }"), ["a.b:9000/"]);
    assert_eq!(routes("proxy: { host: a.b }\nports: { proxy: 9000 }"), ["a.b:9000/"]);
    assert_eq!(routes("ports: { proxy: 9000 }"), ["*:9000/"]);
    assert!(accepted(&with("routes: [{ path_prefix: /api, strip_prefix: true }]")).routes[0].strip_prefix);
}

#[test]
fn every_problem_at_once_in_the_order_of_the_text() {
    let text = r#"name: Web_API
image: "my app"
replicas: 0
docker:
  expose_port: "eighty"
  enviroment: { A: 1 }
  environment: { B: [1], C: "${vault:x}", "D E": 1, F: }
  memory_limit: 512x
  privileged: true
  volumes: [/var/run/docker.sock:/s, data]
  labels: { dockswap.app: x }
ports: { blue: 8081, green: 8081 }
health_check: { endpoint: health, timeout: 5, retries: 0, expected_status: [] }
deployment: { watch: 10 s, promotion: maybe, startup_delay: 2m }
routes: [{ host: "http://x", tls: true }]
proxy: { host: x }
"#;
    let expected = r#"web.yaml:1:7: name: "Web_API" is not an app name: use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit
web.yaml:2:8: image: "my app" is not an image reference: write it as in myapp:v1 or registry.example.com/team/myapp:v1
web.yaml:3:11: replicas: 0 is out of range: write a whole number from 1 to 32
web.yaml:5:16: docker.expose_port: found the text "eighty": write a whole number from 1 to 65535
web.yaml:6:3: docker.enviroment: unknown key: did you mean `environment`?
web.yaml:7:21: docker.environment.B: found a list: write a value in quotes ("" for an empty one), or ${env:NAME} to pass on the controller's
web.yaml:7:29: docker.environment.C: references of kind "vault" are not known: write ${env:NAME} or ${file:PATH}, or $${ for the two characters
web.yaml:7:43: docker.environment.D E: not a variable's name: write one without blanks and `=`
web.yaml:7:53: docker.environment.F: found nothing: write a value in quotes ("" for an empty one), or ${env:NAME} to pass on the controller's
web.yaml:8:17: docker.memory_limit: "512x" is not an amount of memory: write it as in 512m or 1.5g
web.yaml:9:3: docker.privileged: refused: it gives the container the whole host; no server setting allows it
web.yaml:10:13: docker.volumes[0]: /var/run/docker.sock may not be mounted: it gives the container the Docker socket, which is root on the host; no server setting allows it
web.yaml:10:38: docker.volumes[1]: "data" is not a volume: write src:dst or src:dst:ro, as in data:/data or /srv/files:/files:ro
web.yaml:11:13: docker.labels.dockswap.app: labels beginning with `dockswap.` are dockswap's own: write another name
web.yaml:12:29: ports.green: 8081 is the port of blue already: write another
web.yaml:13:27: health_check.endpoint: "health" does not begin with /: write it as in /health
web.yaml:13:44: health_check.timeout: 5 has no unit: write 5s for seconds, or 5ms
web.yaml:13:56: health_check.retries: 0 is out of range: write a whole number from 1 to 1000
web.yaml:13:76: health_check.expected_status: an empty list accepts no answer: write a status code, a range such as 200-399, or a list of them
web.yaml:14:22: deployment.watch: "10 s" is not a duration: write it as in 500ms, 5s, 1m30s or 2h
web.yaml:14:39: deployment.promotion: found the text "maybe": write auto or manual
web.yaml:14:61: deployment.startup_delay: startup_delay must be shorter than startup_timeout, which is the whole gate: raise startup_timeout
web.yaml:16:8: proxy: stands beside `routes`, which says the same: move it into `routes` as one more item
"#;
    assert_eq!(refused(text), expected);
}

#[test]
fn what_is_missing() {
    let expected = "\
web.yaml:1:1: name: missing: write `name: my-app`
web.yaml:1:1: image: missing: write `image: my-app:v1`
web.yaml:2:3: docker.expose_port: missing: write `expose_port: 8080`
";
    assert_eq!(refused("docker:\n  user: x\n"), expected);
    for (text, expected) in [
        ("", "web.yaml:1:1: the file is empty: describe one app, see deploy.yaml.example\n"),
        ("# nothing\n", "web.yaml:1:1: the file is empty: describe one app, see deploy.yaml.example\n"),
        (
            "just text",
            "web.yaml:1:1: found the text \"just text\": write a mapping of name, description, project, image, replicas, docker, ports, health_check, deployment, routes, proxy, limits\n",
        ),
    ] {
        assert_eq!(refused(text), expected);
    }
}

#[test]
fn keys_that_are_not_known() {
    for (line, expected) in [
        ("expose_prot: 1", "unknown key: did you mean `expose_port`?"),
        ("workingDir: /x", "unknown key: did you mean `working_dir`?"),
        ("image: x", "unknown key: write it at the top level"),
        ("endpoint: /x", "unknown key: write it under `health_check`"),
        ("restart: always", "unknown key: write `restart_policy` under `docker`"),
        ("build: .", "unknown key: build the image first, and name it in `image`"),
        (
            "network_mode: host",
            "refused: it bypasses the proxy's network; `docker.network` names a bridge; no server setting allows it",
        ),
        (
            "pid: host",
            "refused: it takes down a wall between the container and the host; no server setting allows it",
        ),
        (
            "cap_add: [SYS_ADMIN]",
            "refused: it gives the container powers over the host; no server setting allows it",
        ),
        ("sysctls: {}", "refused: it changes the kernel's settings; no server setting allows it"),
    ] {
        let key = line.split(':').next().expect("a key");
        assert_eq!(refused(&docker(line)), format!("web.yaml:5:3: docker.{key}: {expected}\n"));
    }
    for key in
        ["ipc", "userns", "userns_mode", "uts", "devices", "gpus", "security_opt", "cgroup_parent", "runtime"]
    {
        assert!(refused(&docker(&format!("{key}: x"))).contains("refused: "), "{key}");
        assert!(refused(&with(&format!("{key}: x"))).contains("refused: "), "{key}");
    }
    let listed = refused(&with("ports: { purple: 1 }"));
    assert_eq!(listed, "web.yaml:4:10: ports.purple: unknown key: known here are blue, green, proxy\n");
}

#[test]
fn values_that_are_refused() {
    for (text, expected) in [
        (
            docker("network: host"),
            "5:12: docker.network: host is refused: the proxy cannot reach the app there; write the name of a bridge network; no server setting allows it",
        ),
        (
            docker("volumes: [/:/host]"),
            "5:13: docker.volumes[0]: / may not be mounted: it gives the container the whole host; no server setting allows it",
        ),
        (
            docker("volumes: ['a1:/x', 'b1:/x']"),
            "5:22: docker.volumes[1]: /x is mounted already: write another target",
        ),
        (
            docker("volumes: ['a1:/x:z']"),
            "5:13: docker.volumes[0]: the mode \"z\" is not known: write ro, or leave it out",
        ),
        (
            docker("volumes: ['~/x:/x']"),
            "5:13: docker.volumes[0]: \"~/x\" is not expanded: write the absolute path",
        ),
        (
            docker("command: \"'unclosed\""),
            "5:12: docker.command: a quote is not closed: close it, or write a list of words",
        ),
        (
            docker("ulimits: { nofiles: 1 }"),
            "5:14: docker.ulimits.nofiles: unknown limit: write core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending or stack",
        ),
        (
            docker("ulimits: { core: { soft: 2, hard: 1 } }"),
            "5:20: docker.ulimits.core: the soft limit is above the hard one: lower it",
        ),
        (
            docker("restart_policy: on-failure:0"),
            "5:19: docker.restart_policy: found the text \"on-failure:0\": write on-failure:N with N at least 1",
        ),
        (docker("read_only: yes"), "5:14: docker.read_only: found the text \"yes\": write true or false"),
        (
            docker("env_file: /proc/self/environ"),
            "5:13: docker.env_file: /proc/self/environ may not be read for an app; no server setting allows it",
        ),
        (
            docker("environment: [SECRET]"),
            "5:17: docker.environment[0]: has no `=`: write NAME=value, or NAME=${env:NAME} to pass on the controller's",
        ),
        (with("description: 5"), "4:14: description: found the number 5: write a text, in quotes: \"5\""),
        (with("replicas: 33"), "4:11: replicas: 33 is out of range: write a whole number from 1 to 32"),
        (
            with("ports: { blue: 70000 }"),
            "4:16: ports.blue: 70000 is out of range: write a whole number from 1 to 65535",
        ),
        (with("routes:"), "4:1: routes: found nothing: write a list of mappings, each beginning with `-`"),
        (
            with("routes: []"),
            "4:9: routes: an empty list leaves the app without traffic: write a route, or leave `routes` out for <name>.localhost",
        ),
        (with("routes: [{ tls: { cert: x } }]"), "4:17: routes[0].tls.key: missing: write `key: PATH`"),
        (
            with("routes: [{ host: A.x }, { host: a.x. }]"),
            "4:25: routes[1]: a.x/ is routes[0] already: remove one of them",
        ),
        (
            with("ports: { proxy: 1 }\nproxy: { listen_port: 1 }"),
            "4:17: ports.proxy: stands also under proxy.listen_port: remove one of them",
        ),
        (
            with("ports: { proxy: 1 }\nroutes: [{ host: x }]"),
            "4:17: ports.proxy: stands beside `routes`, which says the same: move it into `routes` as one more item",
        ),
        (
            with("health_check: { method: POST }"),
            "4:25: health_check.method: has no effect without `endpoint`: add `endpoint: /health`",
        ),
        (
            with("health_check: { interval: 1ms }"),
            "4:27: health_check.interval: 1ms is out of range: write 100ms to 1h",
        ),
        (
            with("health_check: 5"),
            "4:15: health_check: found the number 5: write a mapping of endpoint, method, expected_status, interval, timeout, retries, success_threshold",
        ),
    ] {
        assert_eq!(refused(&text), format!("web.yaml:{expected}\n"));
    }
}

#[test]
fn the_server_can_restrict_app_files() {
    let policy = Policy {
        bind_mounts: Some(vec![PathBuf::from("/srv")]),
        host_ports: HostPortRule::Refused,
        ..Policy::default()
    };
    let text = docker("volumes: ['/srv/x:/x', '/opt/x:/y', 'data:/z']") + "ports: { blue: 1 }\n";
    let problems = parse_app(Path::new("web.yaml"), text.as_bytes(), Path::new("/"), &policy);
    let expected = "\
web.yaml:5:26: docker.volumes[1]: /opt/x may not be mounted: it is not below a directory of policy.bind_mounts in dockswap.yaml; add it there
web.yaml:6:16: ports.blue: app files may not publish host ports: leave it out, or set policy.host_ports in dockswap.yaml
";
    assert_eq!(lines(&problems.expect_err("restricted")), expected);
}

#[test]
fn problems_for_programs() {
    let problems = parse(&with("replicas: 0")).expect_err("out of range");
    let json = serde_json::to_value(&problems).expect("JSON");
    let expected = serde_json::json!([{
        "file": "web.yaml",
        "line": 4,
        "column": 11,
        "path": "replicas",
        "message": "0 is out of range: write a whole number from 1 to 32",
    }]);
    assert_eq!(json, expected);
}

#[test]
fn limits_as_written_and_none_where_nothing_is() {
    assert_eq!(accepted(&with("")).limits, TrafficLimits::default());
    let spec = accepted(&with(
        "limits: { max_body: 1.5k, connect_timeout: 1s, response_timeout: 2m, idle_timeout: 500ms, \
         stream_idle_timeout: 1h, max_requests: 10, max_websockets: 20 }",
    ));
    let expected = TrafficLimits {
        max_body_bytes: Some(1536),
        connect_timeout: Some(Duration::from_secs(1)),
        response_timeout: Some(Duration::from_secs(120)),
        idle_timeout: Some(Duration::from_millis(500)),
        stream_idle_timeout: Some(Duration::from_secs(3_600)),
        max_requests: Some(10),
        max_websockets: Some(20),
    };
    assert_eq!(spec.limits, expected);
    assert_ne!(spec, accepted(&with("")), "a change of limits is a change of the app");
    let problems = refused(&with(
        "limits: { max_body: large, max_requests: 0, response_timeout: 10, max_connections: 1 }",
    ));
    let expected = "\
web.yaml:4:21: limits.max_body: \"large\" is no number of bytes: write it as in 512k or 10m
web.yaml:4:42: limits.max_requests: 0 is out of range: write a whole number from 1 to 1000000
web.yaml:4:63: limits.response_timeout: 10 has no unit: write 10s for seconds, or 10ms
";
    let (known, unknown): (Vec<_>, Vec<_>) =
        problems.lines().partition(|line| !line.contains("max_connections"));
    assert_eq!(known.join("\n") + "\n", expected);
    assert_eq!(unknown.len(), 1, "{problems}");
}
