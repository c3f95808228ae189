//! Names of services of Docker's Swarm, by which the containers of their tasks are called.

/// Label with the name of the service.
const SERVICE: &str = "com.docker.swarm.service.name";
/// Label with the name of the stack that the service is part of.
const STACK: &str = "com.docker.stack.namespace";

/// Returns the names that Swarm gives a container besides its own: the service's, the same with `tasks.` before it, and in a
/// stack those of the service without the stack's. None if it is not the container of a task.
pub(super) fn service_aliases<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let Some(service) = label(SERVICE).filter(|name| !name.is_empty()) else {
        return Vec::new();
    };
    let stack = label(STACK).filter(|stack| !stack.is_empty());
    let short = stack.and_then(|stack| service.strip_prefix(stack)?.strip_prefix('_'));
    let names = [Some(service), short.filter(|name| !name.is_empty())];
    let both = |name: &str| [name.to_owned(), format!("tasks.{name}")];
    names.into_iter().flatten().flat_map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_called_by_its_service() {
        let of = |labels: &[(&str, &'static str)]| {
            service_aliases(|name| {
                let found = labels.iter().find(|(label, _)| *label == name);
                found.map(|(_, value)| *value)
            })
        };
        assert!(of(&[]).is_empty() && of(&[(SERVICE, "")]).is_empty());
        assert_eq!(of(&[(SERVICE, "front")]), ["front", "tasks.front"]);
        assert_eq!(
            of(&[(SERVICE, "shop_db"), (STACK, "shop")]),
            ["shop_db", "tasks.shop_db", "db", "tasks.db"]
        );
        assert_eq!(
            of(&[(SERVICE, "shopdb"), (STACK, "shop")]),
            ["shopdb", "tasks.shopdb"]
        );
    }
}
