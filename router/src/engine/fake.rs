//! In-memory engine for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use mesh_engine::container::EngineContainer;
use mesh_engine::error::EngineError;
use mesh_engine::network::{NetworkEndpoint, OwnNetwork};
use mesh_proto::api::Runtime;

use super::{Engine, EngineAnswer};

#[derive(Default)]
pub(crate) struct World {
    pub(crate) containers: BTreeMap<String, EngineContainer>,
    pub(crate) networks: BTreeSet<String>,
    /// Prefix of network names, if not `mesh`.
    pub(crate) base: Option<&'static str>,
    pub(crate) endpoints: BTreeMap<String, Vec<NetworkEndpoint>>,
    /// Modifying requests, in order.
    pub(crate) log: Vec<String>,
    /// Done once, right after the next answer about a container was made.
    pub(crate) after_inspect: Option<Box<dyn FnOnce() + Send>>,
    down: bool,
    /// True for current engines; false for those that connect networks in the order of their names.
    pub(crate) modern: bool,
}

pub(crate) struct FakeEngine {
    runtime: Runtime,
    world: Mutex<World>,
}

impl FakeEngine {
    pub(crate) fn new(runtime: Runtime) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            world: Mutex::default(),
        })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Adds a container with the id `id-<name>`; it runs if `pid` is not 0.
    pub(crate) fn add(&self, name: &str, pid: u32) {
        let container = EngineContainer {
            id: format!("id-{name}"),
            name: name.to_owned(),
            pid,
            running: pid != 0,
            network_mode: "default".into(),
            ..EngineContainer::default()
        };
        self.world()
            .containers
            .insert(container.id.clone(), container);
    }

    pub(crate) fn update(&self, name: &str, change: impl FnOnce(&mut EngineContainer)) {
        change(
            self.world()
                .containers
                .get_mut(&format!("id-{name}"))
                .unwrap(),
        );
    }

    pub(crate) fn remove(&self, name: &str) {
        self.world().containers.remove(&format!("id-{name}"));
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.world().down = down;
    }

    fn answer<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut World) -> Result<T, EngineError>,
    ) -> EngineAnswer<'static, T> {
        let mut world = self.world();
        let result = if world.down {
            Err(EngineError::Unavailable(
                "Docker is not running (cannot connect to /x)".into(),
            ))
        } else {
            f(&mut world)
        };
        Box::pin(std::future::ready(result))
    }
}

fn find<'w>(world: &'w mut World, name: &str) -> Result<&'w mut EngineContainer, EngineError> {
    world
        .containers
        .values_mut()
        .find(|c| c.name == name || c.id == name)
        .ok_or_else(|| EngineError::NoContainer(name.to_owned()))
}

impl Engine for FakeEngine {
    fn runtime(&self) -> Runtime {
        self.runtime
    }

    fn inspect<'a>(&'a self, name: &'a str) -> EngineAnswer<'a, EngineContainer> {
        let answer = self.answer(|w| find(w, name).cloned());
        let after = self.world().after_inspect.take();
        if let Some(after) = after {
            after();
        }
        answer
    }

    fn start<'a>(&'a self, name: &'a str) -> EngineAnswer<'a, ()> {
        self.answer(|w| {
            let container = find(w, name)?;
            container.running = true;
            container.error.clear();
            w.log.push(format!("start {name}"));
            Ok(())
        })
    }

    fn list(&self) -> EngineAnswer<'_, BTreeMap<String, bool>> {
        self.answer(|w| {
            Ok(w.containers
                .values()
                .map(|c| (c.id.clone(), c.running))
                .collect())
        })
    }

    fn on_mesh(&self) -> EngineAnswer<'_, BTreeSet<String>> {
        self.answer(|w| {
            let all = w.containers.values();
            let connected = all.filter(|c| !c.connections.is_empty());
            Ok(connected.map(|c| c.id.clone()).collect())
        })
    }

    fn plugs_by_name(&self) -> EngineAnswer<'_, bool> {
        self.answer(|w| Ok(!w.modern))
    }

    fn networks(&self) -> EngineAnswer<'_, Vec<OwnNetwork>> {
        let own = |name: &String| OwnNetwork {
            id: name.clone(),
            name: name.clone(),
            made_by_us: name.starts_with("mesh"),
        };
        self.answer(move |w| Ok(w.networks.iter().map(own).collect()))
    }

    fn network_base(&self) -> EngineAnswer<'_, &'static str> {
        self.answer(|w| Ok(w.base.unwrap_or("mesh")))
    }

    fn ensure_network<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, ()> {
        self.answer(|w| {
            w.networks.insert(network.to_owned());
            Ok(())
        })
    }

    fn endpoints<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, Vec<NetworkEndpoint>> {
        self.answer(|w| Ok(w.endpoints.get(network).cloned().unwrap_or_default()))
    }

    fn disconnect<'a>(&'a self, network: &'a str, container: &'a str) -> EngineAnswer<'a, ()> {
        self.answer(|w| {
            if let Some(ends) = w.endpoints.get_mut(network) {
                ends.retain(|e| e.container != container);
            }
            w.log.push(format!("disconnect {network} {container}"));
            Ok(())
        })
    }

    fn remove_network<'a>(&'a self, network: &'a str) -> EngineAnswer<'a, ()> {
        self.answer(|w| {
            w.networks.remove(network);
            w.log.push(format!("remove {network}"));
            Ok(())
        })
    }
}
