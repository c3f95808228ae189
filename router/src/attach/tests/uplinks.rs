//! Other bridges on the mesh.

use super::*;

fn joined(s: &Setup) -> Vec<String> {
    let world = s.kernel.world();
    let all = world.bridges.iter().filter(|(_, joined)| **joined);
    all.map(|(name, _)| name.clone()).collect()
}

fn problems(s: &Setup) -> Vec<String> {
    let all = s.attachments.host_report().bridges.into_iter();
    all.map(|b| format!("{}: {}", b.bridge, b.problem))
        .collect()
}

#[tokio::test]
async fn a_bridge_is_attached_mended_kept_and_detached() {
    let s = setup();
    s.kernel.world().bridges.insert("br0".into(), false);
    for _ in 0..2 {
        s.attachments.attach_bridge("", "br0").await.unwrap();
    }
    assert_eq!(joined(&s), ["br0"]);
    s.kernel.world().bridges.insert("br0".into(), false);
    s.reconcile().await;
    assert_eq!(joined(&s), ["br0"]);
    // It goes, and comes back after a restart of the router.
    s.kernel.world().bridges.clear();
    s.reconcile().await;
    assert_eq!(problems(&s), ["br0: there is no bridge br0"]);
    let s = s.restart();
    s.kernel.world().bridges.insert("br0".into(), false);
    s.reconcile().await;
    assert_eq!(joined(&s), ["br0"]);
    assert_eq!(problems(&s), ["br0: "]);
    s.attachments.detach_bridge("br0").await.unwrap();
    assert!(joined(&s).is_empty() && problems(&s).is_empty());
    let error = s.attachments.detach_bridge("br0").await.unwrap_err();
    assert!(error.to_string().contains("not attached"), "{error}");
    s.reconcile().await;
    assert!(joined(&s).is_empty());
}

#[tokio::test]
async fn what_cannot_be_joined_or_stored_is_not_attached() {
    let s = setup();
    let error = s.attachments.attach_bridge("", "br0").await.unwrap_err();
    assert!(error.is_callers() && problems(&s).is_empty(), "{error}");
    s.kernel.world().bridges.insert("br0".into(), false);
    let trap = s.dir.path().join(".attachments.tmp");
    std::os::unix::fs::symlink("/dev/full", &trap).unwrap();
    s.attachments.attach_bridge("", "br0").await.unwrap_err();
    assert!(joined(&s).is_empty() && problems(&s).is_empty());
    s.attachments.attach_bridge("", "br0").await.unwrap();
    s.attachments.retire().await.unwrap();
    assert!(joined(&s).is_empty() && problems(&s).is_empty());
}
