//! The router's preparation for a container to come.

use mesh_proto::api::{AbandonRequest, ContainerAddresses, Done, PrepareRequest, Prepared};

use crate::client::ApiClient;
use crate::output;
use crate::waiting;

/// Interfaces and addresses that the router prepared for a container to come; undone on drop unless
/// [`keep`](Self::keep) was called.
pub(crate) struct Preparation<'a> {
    client: &'a ApiClient,
    prepared: Prepared,
    json: bool,
    kept: bool,
}

impl<'a> Preparation<'a> {
    /// Asks the router to prepare a container. With `json`, [`print`](Self::print) prints JSON rather than the id alone.
    pub(super) fn new(
        client: &'a ApiClient,
        request: &PrepareRequest,
        json: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client,
            prepared: waiting::post(client, "/prepare", request, request.timeout)?,
            json,
            kept: false,
        })
    }

    /// Returns the router's handle of the preparation, and what to pass to the engine.
    pub(crate) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Returns the client for further requests about the preparation.
    pub(crate) fn client(&self) -> &ApiClient {
        self.client
    }

    /// True if JSON will be printed rather than the id alone.
    pub(crate) fn wants_json(&self) -> bool {
        self.json
    }

    /// Makes the preparation permanent: the container runs.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// Prints the id of the container; as JSON, its name and addresses as well.
    pub(crate) fn print(&self, container: &str, name: &str) -> anyhow::Result<()> {
        if !self.json {
            return output::print_line(container);
        }
        output::print_json(&ContainerAddresses {
            container: container.to_owned(),
            name: name.to_owned(),
            addresses: self.prepared.addresses.clone(),
        })
    }
}

impl Drop for Preparation<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let request = AbandonRequest {
            id: self.prepared.id.clone(),
        };
        if let Err(error) = self.client.post::<Done>("/abandon", &request) {
            output::complain(&format!("could not undo the preparations: {error}"));
        }
    }
}
