use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{backlog::Backlog, keep::is_settled};
use crate::store::{SessionName, SessionRecord, SessionStore, StoreErrorKind};

/// What the store has to be told until it listens: whoever was promised it does not ask again. There
/// are no more of them than sessions.
#[derive(Debug)]
pub(super) enum Duty {
    /// To forget a session that has ended (SE-5, B14).
    End(SessionRecord),
    /// To take back one that was not given, and has no name.
    Abandon(SessionRecord),
    /// To take back one that was not given, whether or not that is its name. Its server is told only
    /// if it is: otherwise the server means somebody else's by it (B11, SE-2).
    Disown(SessionRecord, SessionName),
}

/// A duty, and how often it was tried.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) duty: Duty,
    pub(super) tries: u32,
}

/// What has come of trying.
enum Tried {
    Done,
    Undone,
    /// It is done, and this is to be done now.
    Next(Duty),
}

impl Job {
    pub(super) const fn new(duty: Duty) -> Self {
        Self { duty, tries: 0 }
    }

    /// Tries it. What is not done goes back to the backlog, also if this is dropped or the store
    /// panics.
    pub(super) async fn run<T: SessionStore>(
        self,
        store: T,
        backlog: Arc<Backlog>,
        limit: Duration,
    ) {
        let mut under_way = UnderWay {
            job: Some(self),
            backlog,
        };
        let UnderWay { job, backlog } = &mut under_way;
        while let Some(Self { duty, .. }) = job {
            match timeout(limit, duty.run(&store, backlog)).await {
                Ok(Tried::Done) => *job = None,
                Ok(Tried::Next(next)) => *duty = next,
                Ok(Tried::Undone) | Err(_) => return,
            }
        }
    }
}

impl Duty {
    async fn run<T: SessionStore>(&self, store: &T, backlog: &Backlog) -> Tried {
        let done = match self {
            Self::End(session) => match session.key() {
                Some(key) => store.end(key, session.owner()).await,
                None => Ok(()),
            },
            Self::Abandon(session) => store.abandon(session).await,
            Self::Disown(session, name) => {
                let established = store.establish(session, name.clone()).await;
                let is_its_name = match established.map_err(|error| error.kind()) {
                    Ok(()) => true,
                    Err(StoreErrorKind::Conflict | StoreErrorKind::NotFound) => false,
                    Err(_) => return Tried::Undone,
                };
                session.end();
                if !is_its_name {
                    return Tried::Next(Self::Abandon(session.clone()));
                }
                if session.settle_end() {
                    backlog.tell(session);
                }
                return Tried::Next(Self::End(session.clone()));
            }
        };
        if is_settled(&done) {
            Tried::Done
        } else {
            Tried::Undone
        }
    }
}

struct UnderWay {
    /// Taken when it is done.
    job: Option<Job>,
    backlog: Arc<Backlog>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Self { job, backlog } = self;
        if let Some(job) = job.take() {
            backlog.put_off(job);
        }
    }
}

/// Duties that are to be tried again, in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Later {
    jobs: BTreeMap<(Instant, u64), Job>,
    /// So that no two are due at once.
    serial: u64,
}

impl Later {
    /// The pause before the first time; it doubles each time, up to the longest.
    const PAUSE: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(64);

    pub(super) fn add(&mut self, job: Job) {
        let Job { duty, tries } = job;
        let pause = Self::PAUSE.saturating_mul(1 << tries.min(6));
        let tries = tries.saturating_add(1);
        self.serial += 1;
        let due = (Instant::now() + pause.min(Self::LONGEST), self.serial);
        self.jobs.insert(due, Job { duty, tries });
    }

    pub(super) fn first(&self) -> Option<Instant> {
        let ((due, _), _) = self.jobs.first_key_value()?;
        Some(*due)
    }

    pub(super) fn next(&mut self, now: Instant) -> Option<Job> {
        let first = self.jobs.first_entry()?;
        let (due, _) = first.key();
        (*due <= now).then(|| first.remove())
    }

    /// All of them, due or not.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Job> + use<> {
        std::mem::take(&mut self.jobs).into_values()
    }
}
