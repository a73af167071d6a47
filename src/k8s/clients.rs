//! How the process reaches the API server.

use kube::{Client, Config};

/// The clients that the process sends its requests with. Whoever starts the process hands them in, so that a test can
/// put a layer of its own around them.
#[derive(Clone)]
pub struct Clients {
    /// For watches and for every other request.
    pub api: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot find the API server: no kubeconfig and no in-cluster credentials")]
    Config(#[source] Box<kube::config::InferConfigError>),
    #[error("cannot make a client of the API server")]
    Client(#[source] Box<kube::Error>),
}

impl Clients {
    /// By the kubeconfig (KUBECONFIG, or ~/.kube/config) or by the pod's ServiceAccount. Needs a runtime.
    ///
    /// # Errors
    /// There is neither, or its certificates cannot be used.
    pub async fn infer() -> Result<Self, Error> {
        let config = Config::infer()
            .await
            .map_err(|error| Error::Config(Box::new(error)))?;
        let api = Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))?;
        Ok(Self { api })
    }
}
