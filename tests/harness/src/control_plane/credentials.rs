//! Certificates, keys and kubeconfigs of the control plane.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::node;

/// The files that the programs are started with.
pub(super) struct Credentials {
    directory: PathBuf,
    authority: Authority,
}

impl Credentials {
    /// Makes them all, with an authority of their own.
    pub(super) fn make() -> Result<Self> {
        let directory = node::data_subdir("control-plane")?;
        let made = Self {
            directory,
            authority: Authority::new("kubernetes")?,
        };
        fs::write(made.file("ca.crt"), made.authority.pem())?;
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "localhost",
        ];
        let addresses = [
            node::API_SERVER.into(),
            [198, 19, 0, 1].into(),
            [127, 0, 0, 1].into(),
        ];
        made.authority
            .server(&names, &addresses)?
            .write(&made.directory, "server")?;
        made.authority
            .server(&["n1"], &[node::NODE.into()])?
            .write(&made.directory, "kubelet")?;
        let tokens = KeyPair::generate()?;
        fs::write(made.file("tokens.key"), tokens.serialize_pem())?;
        fs::write(made.file("tokens.pub"), tokens.public_key_pem())?;
        Ok(made)
    }

    /// The path of one of the files: `ca.crt`, `server.crt`, `server.key`, `tokens.key`, `tokens.pub`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The files of a client's certificate and of its key.
    pub(super) fn certificate_of(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        self.authority.client(name, &[])?.write(&self.directory, name)
    }

    /// A kubeconfig for a user who proves who they are by certificate.
    pub(super) fn for_user(&self, name: &str, groups: &[&str]) -> Result<PathBuf> {
        let file = name.replace(':', "-");
        let (certificate, key) = self
            .authority
            .client(name, groups)?
            .write(&self.directory, &file)?;
        let user = json!({ "client-certificate": certificate, "client-key": key });
        let path = self.file(&format!("{file}.kubeconfig"));
        write(&path, &self.file("ca.crt"), &user, "default")?;
        Ok(path)
    }
}

/// Writes a kubeconfig with one cluster, one user and one context. JSON is YAML.
pub(super) fn write(path: &Path, authority: &Path, user: &Value, namespace: &str) -> Result<()> {
    let server = format!("https://{}:{}", node::API_SERVER, node::API_PORT);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{ "name": "test", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": "test", "user": user }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test", "namespace": namespace } }],
    });
    fs::write(path, serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}
