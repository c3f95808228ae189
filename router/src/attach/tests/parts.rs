//! Parts without the whole.

use mesh_host::member::{Home, MemberPort, PluggedMember, Tenant};

use super::super::containers::Members;
use super::super::fake::DefaultNetworkOnly;
use super::super::host::Uplinks;
use super::*;

struct Parts {
    _dir: tempfile::TempDir,
    kernel: Arc<FakeKernel>,
    docker: Arc<FakeEngine>,
    base: Foundation,
}

fn parts() -> Parts {
    let dir = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let docker = FakeEngine::new(Runtime::Docker);
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let engines = Engines::new(vec![docker.clone()]);
    let allocator = Allocator::off("no addresses are allocated here");
    let around = Surroundings {
        store,
        kernel: kernel.clone(),
        engines,
        book: Arc::new(|_, _| None),
        allocator,
        networks: Arc::new(DefaultNetworkOnly),
    };
    let base = Foundation::open(around).unwrap();
    Parts {
        _dir: dir,
        kernel,
        docker,
        base,
    }
}

#[tokio::test]
async fn a_member_is_plugged_rests_and_is_taken_out() {
    let s = parts();
    let members = Members::new(&s.base);
    let home = Home::Namespace {
        netns: "mesh-ns-p".into(),
        tenant: Tenant::Container("c".into()),
    };
    let ports =
        MemberPort::for_addresses(NetworkId::DEFAULT, &["10.2.1.1/24".parse().unwrap()], true);
    let pod = PluggedMember::new("pod", Runtime::Podman, home, ports);
    s.base.table.record(|table| table.members.insert("p", pod));
    members.fill_namespace("p", "mesh-ns-p").await.unwrap();
    assert_eq!(s.kernel.plugged_addresses(), ["10.2.1.1/24"]);
    let ifname = |table: &AttachmentTable| table.members.get("p").unwrap().ports[0].ifname.clone();
    assert_eq!(s.base.table.read(ifname), "mesh0");
    let announced = s.base.table.published().announced();
    assert_eq!(announced.borrow().len(), 1);

    members.suspend("p").await.unwrap();
    assert_eq!(s.kernel.world().resting.len(), 1);
    assert!(announced.borrow().is_empty());
    members.restore("p").await.unwrap();
    assert!(s.kernel.world().resting.is_empty());
    s.kernel.fail("unplug", 0);
    members.remove("p").await.unwrap_err();
    assert_eq!(announced.borrow().len(), 1, "what is there is known");
    members.remove("p").await.unwrap();
    assert!(s.kernel.plugged_addresses().is_empty() && announced.borrow().is_empty());
    assert!(s.kernel.world().namespaces.is_empty());
}

#[tokio::test]
async fn an_endpoint_is_made_joined_and_deleted() {
    let s = parts();
    let endpoints = Arc::new(DockerEndpoints::new(
        &s.base,
        Arc::new(UserNetworks::new(&s.base)),
    ));
    let wanted = Some(options("10.2.1.1/24"));
    s.kernel.fail("make_endpoint", 0);
    let failed = endpoints.create("e1", "net", wanted.clone(), None).await;
    assert!(failed.is_err() && endpoints.join("e1", "/sandbox".into()).is_err());
    endpoints.create("e1", "net", wanted, None).await.unwrap();
    s.kernel.add_sandbox("/sandbox");
    let end = NetworkEndpoint {
        endpoint: "e1".into(),
        container: "c".into(),
        name: "web".into(),
    };
    let found = BTreeMap::from([("net".to_owned(), vec![end])]);
    s.docker.world().endpoints = found;
    assert_eq!(
        endpoints.join("e1", "/sandbox".into()).unwrap().peer,
        "peer0"
    );
    let mut announced = s.base.table.published().announced();
    let named = announced.wait_for(|list| list.iter().any(|a| a.container == "web"));
    tokio::time::timeout(Duration::from_secs(5), named)
        .await
        .unwrap()
        .unwrap();
    endpoints.leave("e1");
    assert!(!endpoints.is_joined("e1"));
    endpoints.delete("e1").await;
    assert!(s.kernel.plugged_addresses().is_empty());
}

#[tokio::test]
async fn an_uplink_that_cannot_be_joined_says_why() {
    let s = parts();
    let uplinks = Uplinks::new(&s.base);
    s.base
        .table
        .record(|table| table.bridges.insert("br0", NetworkId::DEFAULT));
    uplinks.mend().await;
    assert_eq!(uplinks.report()[0].problem, "there is no bridge br0");
    s.kernel.world().bridges.insert("br0".into(), false);
    uplinks.mend().await;
    assert_eq!(uplinks.report()[0].problem, "");
    s.base.operations.retire();
    assert!(uplinks.attach("", "br1").await.is_err());
    uplinks.leave_all().await.unwrap();
    assert!(uplinks.report().is_empty());
}

#[tokio::test]
async fn the_end_of_a_process_wakes() {
    let s = parts();
    s.kernel.start_process(7);
    s.base.wakeups.wake_at_end(&s.base.kernel, 7);
    let period = Duration::from_secs(60);
    let waiting = s.base.wakeups.wait(period);
    s.kernel.end_process(7);
    tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .expect("before the period");
    assert!(!s.base.wakeups.take_podman());
    s.base.wakeups.wake_for_podman();
    assert!(s.base.wakeups.take_podman() && !s.base.wakeups.take_podman());
}
