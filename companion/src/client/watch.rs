//! `pg-secrets run --watch`: the command as a child, started anew when one of its secrets has another
//! current version. Looking reads no value, and needs none: only ids are compared. The new values are
//! there before the old child is stopped; where they cannot be had, it goes on.

use crate::client::failure::{Failure, Kind};
use crate::client::http::Connection;
use crate::client::run::{RunArguments, not_started};
use crate::client::version::Revealed;
use crate::client::{find, output, read};
use crate::visible::visible;
use futures_util::future::select_all;
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// The current version of each name.
type Current = BTreeMap<String, Uuid>;

/// Runs the command until it ends by itself; its exit code.
///
/// # Errors
/// Where the project cannot be looked at, and where the command cannot be started.
pub(crate) async fn run(
    arguments: &RunArguments,
    server: &Connection,
    mut secrets: Vec<Revealed>,
) -> Result<ExitCode, Failure> {
    let watched = Watched { arguments, server };
    // Whoever may not look should hear of it now, and not when it matters.
    watched.look().await?;
    let mut signals = Signals::new()?;
    loop {
        let known = current(&secrets);
        let mut command = Command::from(arguments.command(&secrets)?);
        let mut child = match command.kill_on_drop(true).spawn() {
            Ok(child) => child,
            Err(error) => return Ok(not_started(&error)),
        };
        // The command's environment is a copy of its own.
        drop((command, secrets));
        let next = {
            let rotated = watched.rotated(&known);
            tokio::pin!(rotated);
            loop {
                tokio::select! {
                    ended = child.wait() => return code(ended),
                    told = signals.next() => {
                        told.pass_on(&child);
                        if told.ends() {
                            return code(signals.until_ended(&mut child).await);
                        }
                    }
                    next = &mut rotated => break next,
                }
            }
        };
        tell(&known, &current(&next));
        if let Some(ended) = signals.stop(&mut child, arguments.stop_timeout).await? {
            return Ok(ended);
        }
        secrets = next;
    }
}

/// What is looked at.
struct Watched<'a> {
    arguments: &'a RunArguments,
    server: &'a Connection,
}

impl Watched<'_> {
    /// Waits until another version is current, and answers the values then. What goes wrong meanwhile
    /// is said once, and tried again.
    async fn rotated(&self, known: &Current) -> Vec<Revealed> {
        let mut failing = false;
        loop {
            sleep(self.arguments.interval).await;
            match self.changed(known).await {
                Ok(Some(secrets)) => return secrets,
                Ok(None) => {
                    if failing {
                        output::note("rotations are seen again");
                    }
                    failing = false;
                }
                Err(failure) => {
                    if !failing {
                        output::note(&format!(
                            "rotations are not seen now, and the command goes on with what it has: {}",
                            failure.text()
                        ));
                    }
                    failing = true;
                }
            }
        }
    }

    async fn changed(&self, known: &Current) -> Result<Option<Vec<Revealed>>, Failure> {
        if self.look().await? == *known {
            return Ok(None);
        }
        let project = &self.arguments.reader.of.project;
        let only = &self.arguments.variables.only;
        let secrets = read::values(self.server, project, only).await?;
        // What could not be started must not be what the running one is stopped for.
        self.arguments.command(&secrets)?;
        Ok(Some(secrets))
    }

    async fn look(&self) -> Result<Current, Failure> {
        let project = &self.arguments.reader.of.project;
        let only = &self.arguments.variables.only;
        let found = find::all(self.server, project, &[]).await;
        let (secrets, _) = found.map_err(|failure| match failure.kind() {
            Kind::Denied => failure.and("(--watch takes the permission list.)"),
            _ => failure,
        })?;
        let all = find::summaries(secrets)?.into_iter();
        Ok(all
            .map(|secret| (secret.version.name, secret.version.id))
            .filter(|(name, _)| only.is_empty() || only.contains(name))
            .collect())
    }
}

fn current(secrets: &[Revealed]) -> Current {
    let ids = secrets
        .iter()
        .map(|secret| (secret.name.clone(), secret.id));
    ids.collect()
}

fn tell(before: &Current, now: &Current) {
    let differs = |name: &&String| before.get(*name) != now.get(*name);
    let mut names: Vec<&String> = before.keys().chain(now.keys()).filter(differs).collect();
    names.sort();
    names.dedup();
    let names: Vec<String> = names.into_iter().map(|name| visible(name)).collect();
    output::note(&format!(
        "restarting the command: {} changed",
        names.join(", ")
    ));
}

/// A signal that this process got.
#[derive(Debug, Clone, Copy)]
struct Told(Signal);

impl Told {
    /// Whether whoever sent it wants an end.
    fn ends(self) -> bool {
        matches!(self.0, Signal::TERM | Signal::INT | Signal::QUIT)
    }

    /// Sends it on. Ctrl-C and Ctrl-\ come to the child without us, from the terminal.
    fn pass_on(self, child: &Child) {
        let typed = matches!(self.0, Signal::INT | Signal::QUIT);
        let at_terminal = tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp());
        if !(typed && at_terminal) {
            send(child, self.0);
        }
    }
}

/// Without an id the child has ended, and the number may be another's.
fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// The signals that are passed on.
struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    fn new() -> Result<Self, Failure> {
        let all = [
            (Signal::TERM, SignalKind::terminate()),
            (Signal::INT, SignalKind::interrupt()),
            (Signal::QUIT, SignalKind::quit()),
            (Signal::HUP, SignalKind::hangup()),
            (Signal::USR1, SignalKind::user_defined1()),
            (Signal::USR2, SignalKind::user_defined2()),
            (Signal::WINCH, SignalKind::window_change()),
        ];
        let streams = all.map(|(number, kind)| Ok((number, signal(kind)?)));
        let streams: std::io::Result<_> = streams.into_iter().collect();
        streams
            .map(Self)
            .map_err(|_| Failure::new(Kind::Failed, "signals cannot be caught"))
    }

    async fn next(&mut self) -> Told {
        let waits = self.0.iter_mut().map(|(number, stream)| {
            Box::pin(async move {
                stream.recv().await;
                *number
            })
        });
        Told(select_all(waits).await.0)
    }

    /// Waits for the end of a child that was told to end, however long it takes.
    async fn until_ended(&mut self, child: &mut Child) -> std::io::Result<ExitStatus> {
        loop {
            tokio::select! {
                ended = child.wait() => return ended,
                told = self.next() => told.pass_on(child),
            }
        }
    }

    /// Ends a child that is to be started anew. Where somebody tells us to end meanwhile, or the
    /// child cannot be waited for, the exit code to end with.
    async fn stop(
        &mut self,
        child: &mut Child,
        patience: std::time::Duration,
    ) -> Result<Option<ExitCode>, Failure> {
        send(child, Signal::TERM);
        let ends = async {
            loop {
                tokio::select! {
                    ended = child.wait() => return ended.map(|_| false),
                    told = self.next() => {
                        told.pass_on(child);
                        if told.ends() {
                            return Ok(true);
                        }
                    }
                }
            }
        };
        match timeout(patience, ends).await {
            Ok(Ok(false)) => Ok(None),
            Ok(Ok(true)) => code(self.until_ended(child).await).map(Some),
            Ok(Err(error)) => code(Err(error)).map(Some),
            Err(_) => {
                output::note("the command does not end by SIGTERM, and is killed");
                send(child, Signal::KILL);
                child.wait().await.map_err(lost)?;
                Ok(None)
            }
        }
    }
}

fn code(ended: std::io::Result<ExitStatus>) -> Result<ExitCode, Failure> {
    let ended = ended.map_err(lost)?;
    let code = ended.code().or_else(|| Some(128 + ended.signal()?));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

fn lost(_: std::io::Error) -> Failure {
    Failure::new(Kind::Failed, "the command cannot be waited for")
}
