use std::{future::pending, sync::Arc, time::Duration};

use http::{HeaderValue, Uri};

use super::*;
use crate::{
    captured_log::CapturedLog,
    store::{
        MemorySessionStore, Owner, SessionKey, SessionName,
        faulty::{FaultyStore, Moment, Operation},
    },
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

/// One test, because what is logged depends on who is the first to come to the line.
#[test]
fn each_queue_is_bounded_what_is_given_up_is_logged_and_duties_are_kept() {
    let log = CapturedLog::start();
    let version = ProtocolVersion::V2025_06_18;
    for is_farewell in [false, true] {
        let backlog = Backlog::default();
        let first = record();
        backlog.add(Duty::End(first.clone()));
        let add = |nth| match is_farewell {
            true => backlog.tell(&named(nth)),
            false => backlog.attempt(Attempt::Learn(named(nth), version)),
        };
        // The other queue has room of its own.
        match is_farewell {
            true => backlog.attempt(Attempt::Abandon(Box::pin(pending()))),
            false => backlog.tell(&named(0)),
        }
        (0..Backlog::MAX).for_each(add);
        assert_eq!(log.take(), "");
        add(Backlog::MAX);
        let log = log.take();
        assert!(log.contains("servers are not told"), "{log}");
        assert!(log.contains("count=1"), "{log}");
        for nth in 1..=Backlog::MAX {
            let upstream = if is_farewell {
                backlog.next_farewell().map(|notice| notice.upstream)
            } else {
                match backlog.next_attempt() {
                    Some(Attempt::Learn(session, _)) => session.upstream().cloned(),
                    _ => None,
                }
            };
            assert_eq!(upstream, Some(HeaderValue::from(nth)), "the oldest goes");
        }
        assert!(!backlog.is_empty());
        match is_farewell {
            true => assert!(matches!(backlog.next_attempt(), Some(Attempt::Abandon(_)))),
            false => assert!(backlog.next_farewell().is_some()),
        }
        let Some(Job { duty, tries: 0 }) = backlog.next_duty() else {
            panic!("a duty was given up");
        };
        assert!(matches!(duty, Duty::End(one) if one.is_same(&first)));
        assert!(backlog.is_empty());
    }
}

#[test]
fn one_task_at_a_time_does_them() {
    let backlog = Arc::<Backlog>::default();
    assert!(!backlog.is_served());
    let served = backlog.serve().expect("nobody does");
    assert!(backlog.is_served());
    assert!(backlog.serve().is_none());
    drop(served);
    assert!(!backlog.is_served());
    assert!(backlog.serve().is_some());
}

#[tokio::test(start_paused = true)]
async fn duty_whose_task_is_gone_or_fails_is_due_later_and_at_once_for_another_task() {
    let store = FaultyStore::new(MemorySessionStore::new());
    let backlog = Arc::<Backlog>::default();
    let job = || Job::new(Duty::Abandon(record()));
    let limit = Duration::from_secs(10);
    for is_dropped in [false, true] {
        if is_dropped {
            let faults = store.faults();
            faults.hang_next(Operation::AbandonSession, Moment::Before);
            let run = job().run(store.clone(), Arc::clone(&backlog), limit);
            let mut run = tokio_test::task::spawn(run);
            tokio_test::assert_pending!(run.poll());
        } else {
            let faults = store.faults();
            faults.fail_next(Operation::AbandonSession, Moment::Before);
            job().run(store.clone(), Arc::clone(&backlog), limit).await;
        }
        assert!(backlog.next_duty().is_none(), "not at once");
        let due = backlog.resume().expect("later");
        assert_eq!(due - Instant::now(), Duration::from_secs(1));
        drop(backlog.serve().expect("nobody does them"));
        assert_eq!(backlog.resume(), None);
        let Some(Job { tries: 1, .. }) = backlog.next_duty() else {
            panic!("it should be due");
        };
    }
    // Without a layer, it was the last time.
    backlog.put_off(job());
    backlog.close();
    assert!(backlog.next_duty().is_some());
    backlog.put_off(job());
    assert!(backlog.next_duty().is_none() && backlog.is_empty());
    assert_eq!(backlog.resume(), None);
}
