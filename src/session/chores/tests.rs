use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderValue, Uri};

use super::*;
use crate::store::{
    MemorySessionStore, Owner, SessionKey, SessionName,
    faulty::{FaultyStore, Moment, Operation},
};

fn record() -> SessionRecord {
    SessionRecord::new(Owner::ANONYMOUS, Owner::ANONYMOUS)
}

/// A session whose server can be told.
fn named(nth: usize) -> SessionRecord {
    let record = record();
    let key = SessionKey::new(1, (nth as u128).to_be_bytes());
    let path = Some(Arc::new(Uri::from_static("/mcp")));
    let name = SessionName::new(key, [1; 16], HeaderValue::from(nth)).with_path(path);
    assert!(record.set_name(name));
    record
}

/// What is logged goes here.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().expect("not poisoned");
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One test, because what is logged depends on who is the first to come to the line.
#[test]
fn each_queue_is_bounded_what_is_given_up_is_logged_and_duties_are_kept() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let log = || {
        let bytes = std::mem::take(&mut *lines.0.lock().expect("not poisoned"));
        String::from_utf8(bytes).expect("UTF-8")
    };
    let version = ProtocolVersion::V2025_06_18;
    for is_farewell in [false, true] {
        let chores = Chores::default();
        let first = record();
        chores.add(Duty::End(first.clone()));
        let add = |nth| match is_farewell {
            true => chores.tell(&named(nth)),
            false => chores.ask(Favour::Learn(named(nth), version)),
        };
        // The other queue has room of its own.
        match is_farewell {
            true => chores.ask(Favour::Abandon(Box::pin(pending()))),
            false => chores.tell(&named(0)),
        }
        (0..Chores::MAX).for_each(add);
        assert_eq!(log(), "");
        add(Chores::MAX);
        let log = log();
        assert!(log.contains("servers are not told"), "{log}");
        assert!(log.contains("count=1"), "{log}");
        for nth in 1..=Chores::MAX {
            let upstream = if is_farewell {
                chores.next_farewell().map(|notice| notice.upstream)
            } else {
                match chores.next_favour() {
                    Some(Favour::Learn(session, _)) => session.upstream().cloned(),
                    _ => None,
                }
            };
            assert_eq!(upstream, Some(HeaderValue::from(nth)), "the oldest goes");
        }
        assert!(!chores.is_empty());
        match is_farewell {
            true => assert!(matches!(chores.next_favour(), Some(Favour::Abandon(_)))),
            false => assert!(chores.next_farewell().is_some()),
        }
        let Some(Job { duty, tries: 0 }) = chores.next_duty() else {
            panic!("a duty was given up");
        };
        assert!(matches!(duty, Duty::End(one) if one.is_same(&first)));
        assert!(chores.is_empty());
    }
}

#[test]
fn one_task_at_a_time_does_them() {
    let chores = Arc::<Chores>::default();
    assert!(!chores.is_served());
    let served = chores.serve().expect("nobody does");
    assert!(chores.is_served());
    assert!(chores.serve().is_none());
    drop(served);
    assert!(!chores.is_served());
    assert!(chores.serve().is_some());
}

#[tokio::test(start_paused = true)]
async fn duty_whose_task_is_gone_or_fails_is_due_later_and_at_once_for_another_task() {
    let store = FaultyStore::new(MemorySessionStore::new());
    let chores = Arc::<Chores>::default();
    let job = || Job::new(Duty::Abandon(record()));
    let limit = Duration::from_secs(10);
    for is_dropped in [false, true] {
        if is_dropped {
            let faults = store.faults();
            faults.hang_next(Operation::AbandonSession, Moment::Before);
            let run = job().run(store.clone(), Arc::clone(&chores), limit);
            let mut run = tokio_test::task::spawn(run);
            tokio_test::assert_pending!(run.poll());
        } else {
            let faults = store.faults();
            faults.fail_next(Operation::AbandonSession, Moment::Before);
            job().run(store.clone(), Arc::clone(&chores), limit).await;
        }
        assert!(chores.next_duty().is_none(), "not at once");
        let due = chores.resume().expect("later");
        assert_eq!(due - Instant::now(), Duration::from_secs(1));
        drop(chores.serve().expect("nobody does them"));
        assert_eq!(chores.resume(), None);
        let Some(Job { tries: 1, .. }) = chores.next_duty() else {
            panic!("it should be due");
        };
    }
    // Without a layer, it was the last time.
    chores.put_off(job());
    chores.close();
    assert!(chores.next_duty().is_some());
    chores.put_off(job());
    assert!(chores.next_duty().is_none() && chores.is_empty());
    assert_eq!(chores.resume(), None);
}
