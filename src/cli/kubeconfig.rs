//! The kubeconfig, found and read as kubectl does.

use std::path::{Path, PathBuf};

use kube::Config;
use kube::client::AuthError;
use kube::config::{Kubeconfig, KubeconfigError};

use crate::k8s::clients;

/// The files that KUBECONFIG names, merged, or else `~/.kube/config`; `None`: none of them is there.
///
/// # Errors
/// One cannot be read, or does not fit to those before.
pub fn of_environment() -> Result<Option<Kubeconfig>, KubeconfigError> {
    let named = std::env::var_os("KUBECONFIG").filter(|named| !named.is_empty());
    let files: Vec<PathBuf> = if let Some(named) = named {
        std::env::split_paths(&named).collect()
    } else {
        let home = std::env::home_dir().map(|home| home.join(".kube/config"));
        home.into_iter().collect()
    };
    merged(&files)
}

/// # Errors
/// It cannot be read.
pub fn of_file(file: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let mut read = Kubeconfig::read_from(file)?;
    // Programs write an empty one, which is none.
    read.current_context = read.current_context.filter(|name| !name.is_empty());
    for context in read
        .contexts
        .iter_mut()
        .filter_map(|named| named.context.as_mut())
    {
        context.namespace = context.namespace.take().filter(|name| !name.is_empty());
    }
    Ok(read)
}

/// Of those that are there. What two of them say, the first one says.
fn merged(files: &[PathBuf]) -> Result<Option<Kubeconfig>, KubeconfigError> {
    let mut merged: Option<Kubeconfig> = None;
    for file in files.iter().filter(|file| file.exists()) {
        let read = of_file(file)?;
        merged = Some(match merged {
            Some(first) => first.merge(read)?,
            None => read,
        });
    }
    Ok(merged)
}

/// Why a credential plugin gives no login, in the words of kubectl: what it printed, and its environment, may have secrets.
pub fn no_login(config: &Config, error: &clients::Error) -> Option<String> {
    let clients::Error::Client(error) = error else {
        return None;
    };
    let kube::Error::Auth(error) = &**error else {
        return None;
    };
    let plugin = config.auth_info.exec.as_ref()?;
    let name = plugin.command.as_deref().unwrap_or_default();
    let why = match error {
        AuthError::AuthExecRun { out, .. } => format!("executable {name} failed with {}", out.status),
        AuthError::AuthExecStart(error) => format!("executable {name} cannot be run: {error}"),
        _ => format!("executable {name} printed no credentials"),
    };
    let hint = plugin.install_hint.as_deref().map(|hint| format!("; {hint}"));
    Some(format!(
        "getting credentials: exec: {why}{}",
        hint.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::cluster::Connection;

    /// A file with a context of this name.
    fn written(folder: &Path, name: &str, current: &str) -> PathBuf {
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": current,
            "clusters": [{"name": "shared", "cluster": {"server": format!("https://{name}.example")}}],
            "contexts": [{"name": name, "context": {"cluster": "shared", "user": name, "namespace": ""}}],
        });
        let file = folder.join(name);
        std::fs::write(&file, content.to_string()).unwrap();
        file
    }

    #[test]
    fn files_that_are_not_there_are_passed_over_and_an_empty_name_is_none() {
        let folder = std::env::temp_dir().join(format!("distributary-kubeconfig-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = [
            folder.join("missing"),
            PathBuf::new(),
            written(&folder, "a", ""),
            written(&folder, "b", "b"),
        ];
        let (read, none) = (merged(&files), merged(&files[..2]));
        std::fs::remove_dir_all(&folder).unwrap();
        let read = read.unwrap().unwrap();
        assert_eq!(read.current_context.as_deref(), Some("b"));
        let names: Vec<_> = read
            .contexts
            .iter()
            .map(|context| context.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b"]);
        let context = read.contexts[0].context.as_ref().unwrap();
        assert_eq!(context.namespace, None);
        // The first file counts.
        let cluster = read.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://a.example"));
        assert!(none.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_credential_plugin_that_fails_is_named_and_not_quoted() {
        let told = |command: &str, script: &str| {
            let exec = json!({
                "apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": ["-c", script],
                "interactiveMode": "Never", "installHint": "install it",
            });
            let mut config = Config::new("https://localhost:1".parse().unwrap());
            config.root_cert = Some(vec![]);
            config.auth_info.exec = Some(serde_json::from_value(exec).unwrap());
            let refused = Connection::client_of(&config).map(drop).unwrap_err();
            refused.to_string()
        };
        let failed = told("sh", "echo canary-7f3a; exit 3");
        assert_eq!(
            failed,
            "getting credentials: exec: executable sh failed with exit status: 3; install it"
        );
        let silent = told("sh", "echo '[canary-7f3a'");
        assert_eq!(
            silent,
            "getting credentials: exec: executable sh printed no credentials; install it"
        );
        let missing = told("/nowhere/login", "");
        assert!(
            missing.starts_with("getting credentials: exec: executable /nowhere/login cannot be run: "),
            "{missing}"
        );
    }
}
