//! The thread that owns all state. Whatever happens is brought to it, and it does one thing after
//! another: what came meanwhile is taken together, written together, and answered.

use super::handle::{Command, Engine};
use super::request::Refusal;
use crate::core::{Core, CoreError, Opened};
use crate::desk::SessionId;
use crate::time::Time;
use mizar_proto::{AgentMessage, Hello};
use mizar_store::Store;
use mizar_vpc::Name;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Most of what came meanwhile that is taken together.
const TOGETHER: usize = 256;
/// How often time itself is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What an agent's stream brings.
#[derive(Debug)]
pub(crate) enum StreamCommand {
    /// It begins.
    Open(Hello, oneshot::Sender<Result<Opened, String>>),
    /// Something came.
    Hear(Name, SessionId, AgentMessage, oneshot::Sender<String>),
    /// It has taken all that it was given, and there is more.
    Drained(Name),
    /// It has ended.
    Close(Name, SessionId),
}

/// Reads the store, and starts the thread. It ends when all handles are gone.
///
/// # Errors
/// The store cannot be read, or holds what this build does not understand.
pub fn start(store: Arc<dyn Store>) -> Result<(Engine, JoinHandle<()>), CoreError> {
    let clock = Clock(Instant::now());
    let mut core = Core::load(Arc::clone(&store), clock.now())?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    core.set_clock(since_1970, clock.now());
    let (engine, commands) = Engine::new(store);
    let thread = std::thread::Builder::new().name("engine".to_owned());
    let thread = thread.spawn(move || run(core, commands, clock));
    Ok((engine, thread.map_err(CoreError::Thread)?))
}

#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> Time {
        Time::after(self.0.elapsed())
    }
}

fn run(mut core: Core, mut commands: mpsc::Receiver<Command>, clock: Clock) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut together = Vec::with_capacity(TOGETHER);
        loop {
            let pause = core.pause(clock.now());
            tokio::select! {
                biased;
                count = commands.recv_many(&mut together, TOGETHER) => {
                    if count == 0 {
                        return;
                    }
                    obey(&mut core, together.drain(..), clock);
                }
                _ = ticks.tick() => core.tick(clock.now()),
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
            while core.plan(clock.now()) {}
            core.flush();
            core.work(clock.now());
        }
    });
}

fn obey(core: &mut Core, commands: impl Iterator<Item = Command>, clock: Clock) {
    let (mut writes, mut replies) = (Vec::new(), Vec::new());
    let mut reads = Vec::new();
    for command in commands {
        match command {
            Command::Write(who, write, reply) => {
                writes.push((who, write));
                replies.push(reply);
            }
            Command::Stream(stream) => hear(core, stream, clock.now()),
            read => reads.push(read),
        }
    }
    if !writes.is_empty() {
        for (reply, answer) in replies.into_iter().zip(core.write(writes, clock.now())) {
            // Who has gone meanwhile does not want to know.
            let _ = reply.send(answer);
        }
    }
    for read in reads {
        answer(core, read, clock.now());
    }
}

fn answer(core: &mut Core, read: Command, now: Time) {
    match read {
        Command::Get(who, reference, reply) => drop(reply.send(core.get(&who, &reference, now))),
        Command::List(who, list, reply) => drop(reply.send(core.list(&who, &list, now))),
        Command::Watch(who, watch, reply) => drop(reply.send(core.watch(&who, &watch, now))),
        Command::Look(who, at, reply) => drop(reply.send(core.look(&who, &at))),
        Command::Metrics(who, reply) => drop(reply.send(core.metrics(&who, now))),
        Command::Write(..) | Command::Stream(_) => {}
    }
}

fn hear(core: &mut Core, command: StreamCommand, now: Time) {
    match command {
        StreamCommand::Open(hello, reply) => {
            if let Err(Ok(Opened { session, .. })) = reply.send(core.open(&hello, now)) {
                core.close(&hello.host, session, now);
            }
        }
        StreamCommand::Hear(host, session, message, end) => {
            if let Err(reason) = core.hear(&host, session, message, now) {
                let _ = end.send(reason);
            }
        }
        StreamCommand::Drained(host) => core.drained(&host),
        StreamCommand::Close(host, session) => core.close(&host, session, now),
    }
}

impl Engine {
    /// Brings what an agent's stream brings.
    ///
    /// # Errors
    /// The controller is stopping.
    pub(crate) async fn stream(&self, command: StreamCommand) -> Result<(), Refusal> {
        self.send(Command::Stream(command)).await
    }
}
