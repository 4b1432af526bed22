//! Containers that share another's network namespace (`network_mode: service:NAME`, `container:NAME`).

use super::engine::Container;

/// The network that a container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Its own network, or it is not known.
    No,
    /// The host's network.
    Host,
    /// The network of this container, in words.
    Same(String),
    /// The network of a container that has another one now, or none.
    Stale {
        /// What happened.
        why: String,
        /// What to do.
        next: String,
    },
}

/// The container that owns a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// `container a_gateway_1 (project a)`, inert.
    pub words: String,
    /// It has a process.
    pub runs: bool,
    /// Inode of the namespace that it is in now; `None` if it cannot be seen.
    pub netns: Option<u64>,
}

/// A container that shares another's network keeps the namespace that it joined when it started,
/// but the other one gets a new one when it is restarted. `home`: the inode of the namespace that
/// the container is in; `owner` finds a container by its id: `Ok(None)` if there is none.
pub(crate) fn sharing(
    container: &Container,
    home: u64,
    owner: impl FnOnce(&str) -> Result<Option<Owner>, ()>,
) -> Sharing {
    // Engines allow no other names.
    let name = Some(container.short_name()).filter(|name| is_plain(name));
    let name = name.unwrap_or("the container");
    let again = || {
        let plain = |label: &str| container.compose(label).filter(|it| is_plain(it));
        let command = match (plain("service"), plain("project")) {
            (Some(service), Some(project)) => {
                format!("docker compose -p {project} up -d --force-recreate {service}")
            }
            _ => format!("docker restart {name}"),
        };
        format!("start {name} again, so that it joins the present one: `{command}`")
    };
    let stale = |what: String, next: String| Sharing::Stale {
        why: format!("shared namespace is no longer the gateway's: {what}"),
        next,
    };
    let Some(("container", id)) = container.host_config.network_mode.split_once(':') else {
        return match container.host_config.network_mode.as_str() {
            "host" => Sharing::Host,
            _ => Sharing::No,
        };
    };
    match owner(id) {
        Err(()) => Sharing::No,
        Ok(None) => {
            let short = id.get(..12).unwrap_or(id);
            let what = format!(
                "{name} shares the network of container {short}, which does not exist any more"
            );
            stale(what, again())
        }
        Ok(Some(owner)) => match owner.netns {
            Some(netns) if netns == home => Sharing::Same(owner.words),
            Some(netns) => stale(
                format!("{} was restarted and is in net:[{netns}]", owner.words),
                again(),
            ),
            None if !owner.runs => stale(
                format!("{} does not run", owner.words),
                format!("start {}, then {}", owner.words, again()),
            ),
            None => Sharing::No,
        },
    }
}

/// Whether the text is safe in a command that people copy: a label can contain anything.
fn is_plain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(network_mode: &str) -> Container {
        let text = serde_json::json!({
            "Id": "c".repeat(64), "Name": "/cli",
            "HostConfig": { "NetworkMode": network_mode },
            "Config": { "Labels": { "com.docker.compose.service": "cli", "com.docker.compose.project": "p;reboot" } },
        });
        serde_json::from_value(text).unwrap()
    }

    fn with(owner: Result<Option<Owner>, ()>) -> Sharing {
        sharing(&container("container:1f"), 7, |_| owner)
    }

    fn owner(runs: bool, netns: Option<u64>) -> Owner {
        Owner {
            words: "container gw".to_owned(),
            runs,
            netns,
        }
    }

    #[test]
    fn only_another_namespace_is_stale() {
        assert_eq!(
            with(Ok(Some(owner(true, Some(7))))),
            Sharing::Same("container gw".to_owned())
        );
        for unknown in [Err(()), Ok(Some(owner(true, None)))] {
            assert_eq!(with(unknown), Sharing::No);
        }
        for (owner, words) in [
            (
                Ok(Some(owner(true, Some(8)))),
                "was restarted and is in net:[8]",
            ),
            (Ok(Some(owner(false, None))), "does not run"),
            (Ok(None), "does not exist any more"),
        ] {
            let Sharing::Stale { why, next } = with(owner) else {
                panic!("{words}");
            };
            assert!(why.contains(words), "{why}");
            // A label may be anything.
            assert!(
                next.contains("`docker restart cli`") && !next.contains("reboot"),
                "{next}"
            );
        }
        for (mode, expected) in [
            ("host", Sharing::Host),
            ("bridge", Sharing::No),
            ("", Sharing::No),
        ] {
            let got = sharing(&container(mode), 7, |_| Ok(None));
            assert_eq!(got, expected, "{mode}");
        }
    }
}
