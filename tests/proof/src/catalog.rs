//! Every promise, fault, threat and scar that a test counts trials of.

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in tests and tables.
    pub id: &'static str,
    /// What is promised, or what happens and what is to follow.
    pub says: &'static str,
    /// Why a run of all tests counts no trial of it; `None`: it must.
    pub elsewhere: Option<&'static str>,
}

const fn is(id: &'static str, says: &'static str) -> Row {
    Row { id, says, elsewhere: None }
}

const fn elsewhere(id: &'static str, says: &'static str, why: &'static str) -> Row {
    Row { id, says, elsewhere: Some(why) }
}

/// The row with this id.
#[must_use]
pub fn row(id: &str) -> Option<&'static Row> {
    PROMISES.iter().chain(FAULTS).chain(THREATS).chain(SCARS).find(|row| row.id == id)
}

/// What holds always.
pub const PROMISES: &[Row] = &[
    is("P1", "traffic goes only to a container that passed its gate, or to the last that served"),
    is("P2", "after a committed switch no new request reaches the old color"),
    is("P3", "a switch loses no request"),
    is("P4", "what serves is never stopped by us before its route has left it and its drain has ended"),
    is("P5", "every transition is one event, and `current_state` is what the events add up to"),
    is("P6", "event and state are committed together or not at all"),
    is("P7", "after a crash at any point the next start resumes, converges or fails with a reason"),
    is("P8", "a restart with unchanged files changes nothing that runs"),
    is("P9", "a failed deploy leaves the old color untouched"),
    is("P10", "nothing leaks, and nothing that is not ours is touched"),
    is("P11", "a rollback needs no registry"),
    is("P12", "one controller per database: a second one refuses, and names the first"),
    is("P13", "the last edit wins"),
    is("P14", "a bad file changes nothing that runs, and touches no other app"),
    is("P15", "no secret value is in an event, row, log, error, answer, label or panic"),
    is("P16", "every wait ends"),
    is("P17", "killing the controller fails no request"),
    is("P18", "an upgrade of the proxy loses no request"),
    is("P19", "a clock that jumps changes no decision"),
    elsewhere(
        "P20",
        "three days of deploys leave memory, files and database as they were",
        "a run of 72 hours",
    ),
    is("P21", "a bad certificate touches no other app, and the last good one stays in force"),
    is("P22", "an automatic certificate is got, renewed in time, and asked for seldom when it fails"),
];

/// What goes wrong, and what is to happen then.
pub const FAULTS: &[Row] = &[
    is("ctl.kill", "controller killed at any point: goes on or fails cleanly"),
    is("ctl.term", "SIGTERM in a deploy: ends at a safe point, goes on at the next start"),
    is("ctl.upgrade", "a new binary under load: nobody notices; a newer schema is refused"),
    is("ctl.two", "two controllers on one database: the second says who holds the lock"),
    is("ctl.power", "power lost: the database opens at its last commit, and the deploy goes on"),
    is("dck.restart", "dockerd restarted in a deploy: settles, the old color first"),
    is("dck.hang", "Docker accepts and never answers: said so, traffic unaffected"),
    is("dck.slow", "Docker takes seconds for each call: a slower deploy"),
    is("dck.500", "each call to Docker fails in turn: tried again, or fails with Docker's words"),
    is("dck.lostreply", "a call was done and its answer lost: no second container"),
    is("dck.evgap", "events dropped, doubled, out of order: the change is noticed by the next look"),
    is("dck.409", "the name is taken: ours is adopted, a stranger's is named and left alone"),
    is("dck.rmstuck", "a removal never ends: the next deploy goes on under a new name"),
    is("dck.port", "a host port is taken: said which, and no debris"),
    is("dck.addrpool", "no network address is left: said so, with a way out"),
    is("dck.stranger", "somebody stops or removes what is ours: noticed, healed, on record"),
    is("db.enospc", "the disk is full: nothing new begins, traffic flows, goes on when there is space"),
    is("db.busy", "somebody else holds the database's lock: later, never half"),
    is("db.corrupt", "a page of the database is damaged: refuses to guess, says how to get out"),
    is("db.wal", "the write-ahead log is cut or gone: opens at a commit, or says how to get out"),
    is("db.ro", "the database's directory is read-only or gone: said so, traffic flows"),
    is("db.pgdrop", "PostgreSQL is lost in a commit: looked up, never written twice"),
    is("clk", "the clock jumps: nothing changes"),
    is("cfg.half", "a half-written file: never deployed"),
    is("cfg.rename", "an editor's write and rename: one deploy"),
    is("cfg.swap", "editors' droppings: ignored"),
    is("cfg.symlink", "a swapped ..data link: one deploy"),
    is("cfg.delete", "the file is deleted: the app goes on running"),
    is("cfg.eacces", "the directory cannot be read: the apps go on running"),
    is("cfg.big", "a huge file, very many files: refused before it is read, little memory"),
    is("cfg.bomb", "alias bombs, depth, bad bytes, doubled keys: an error with its place"),
    is("cfg.dup", "one name in two files: both refused, both named, what runs goes on"),
    is("cfg.route", "two apps claim a route: who has it keeps it"),
    is("cfg.1000", "a thousand edits in ten seconds: the last one wins"),
    is(
        "img.missing",
        "a registry that denies, limits, crawls, breaks: the old color serves, the cause is shown",
    ),
    is("img.moved", "a tag moves in a deploy: what was resolved is what runs"),
    is("img.nospace", "no space for the image: fails, and says so"),
    is("app.exit", "exits at once: fails at once, with its last lines"),
    is("app.never", "never healthy: fails at its deadline, with the last answer"),
    is("app.flap", "now healthy, now not: never switched to on one good probe"),
    is("app.postcrash", "crashes right after the switch: traffic goes back"),
    is("app.sigterm", "ignores SIGTERM: killed in time, and not called out of memory"),
    is("app.oom", "out of memory: said so, with the limit"),
    is(
        "app.bothdown",
        "the new one ends and the old one is gone: said so, what served last is tried on, a deploy mends it",
    ),
    is("ops.race", "eight people order at once: one after the other, each told what became of it"),
    is("px.reset", "a connection breaks: tried again only where nothing can happen twice"),
    is("px.stale", "an address changes hands: nobody gets another app's answer"),
    is("px.slow", "slow and idle clients by the thousand: others do not notice"),
    is("px.huge", "huge heads: refused, memory flat"),
    is("px.smuggle", "a request hidden in another: one request arrives, or 400"),
    is("px.ws", "WebSockets through a switch: they live on the old color until its drain ends"),
    is("px.sse", "long transfers and streams through a switch: they end whole"),
    is("net.dns", "a probe answered by a redirect: not followed, and said so"),
];

/// What somebody may try, and what must come of it.
pub const THREATS: &[Row] = &[
    is("T1", "no port for orders is open by default"),
    is("T2", "another user opens the socket: refused"),
    is("T8", "a path that leads out of the config directory: refused"),
    is(
        "T9",
        "an app file takes over the host: each such option refused, with its line and the setting that allows it",
    ),
    is("T10", "files that others can write: refused unless allowed"),
    is("T13", "forged forwarding headers: overwritten"),
    is("T14", "too many connections: capped"),
    is("T15", "control bytes in names and logs: escaped"),
    is("T-priv", "the proxy runs without Docker's socket, and as its own user where there is one"),
    is("T-fuzz", "any bytes at all to a parser: an error, never a crash"),
];

/// What hurt the users of the tools before.
pub const SCARS: &[Row] = &[
    is("scar-P01", "one unreadable file takes no other app down"),
    is("scar-P02", "traffic leaves a container before it is told to stop"),
    is("scar-P03", "at no time do two versions get new requests"),
    is("scar-P04", "the order of route, drain and stop is one process's decision"),
    elsewhere(
        "scar-P05",
        "a Swarm service is stopped only after the proxy has let go",
        "Swarm is not driven",
    ),
    is("scar-P06", "a stop waits for the requests in flight"),
    is("scar-P07", "a route's change drops no other connection"),
    is("scar-P08", "a slow stop has its own signal and its own time, and delays nobody"),
    elsewhere("scar-P09", "a run-once app never runs twice at a time", "run-once apps are not there yet"),
    is("scar-P10", "an app that cannot run twice is replaced while requests wait, and never runs twice"),
    is("scar-P11", "no port of the host is taken by a deploy unless the file says so, and a clash is named"),
    is("scar-P12", "addresses that change over a restart of Docker are followed"),
    is("scar-P13", "a restarted proxy still knows all routes"),
    is("scar-P14", "one app's deploys do not touch another app's requests"),
    is("scar-P15", "an interrupted command leaves no lock"),
    is("scar-P16", "no state lasts for ever, and what is cancelled does not run"),
    is("scar-P17", "`rollback APP` needs no version, and `--help` is no version"),
    is("scar-P18", "a rollback runs the stored config and the stored image"),
    is("scar-P19", "no clean-up takes the image of a rollback"),
    elsewhere(
        "scar-P20",
        "a full disk is noticed before it does harm",
        "image clean-up and disk watermarks come with records",
    ),
    is("scar-P21", "no log prints a secret"),
    is("scar-P22", "a health check needs nothing in the image"),
    is("scar-P23", "a failed health check says why"),
    is("scar-P24", "what the records say is what serves"),
    is("scar-P25", "no traffic is no verdict, and the old color stays warm"),
    is("scar-G01", "the live color changes with the switch, whatever the stop does after it"),
    is("scar-G02", "`current_state.image` is what serves"),
    is("scar-G03", "a failed effect moves the state on"),
    is("scar-G04", "a failed start leaves no container"),
    is("scar-G05", "a restart forgets no deployment"),
    is("scar-G06", "event and state are one transaction, with payload and error"),
    is("scar-G07", "hash, config, end, status and origin of a rollback are true"),
    is("scar-G08", "a deploy by command is on record like any other"),
    is("scar-G09", "a switch names its deployment and the image of its target"),
    is("scar-G10", "reading a state that is not there writes none"),
    is("scar-G11", "foreign keys are enforced"),
    is("scar-G12", "a switch fails while the proxy does not answer"),
    is("scar-G13", "a switch that failed half way is rolled back at the proxy"),
    is("scar-G14", "`auto_rollback` takes traffic back, and stops nothing that serves"),
    is("scar-G15", "a gate ends when its deadline says"),
    is("scar-G16", "a recovery looks at Docker"),
];
