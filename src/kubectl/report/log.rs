//! The log of the operator without the lines of other policies. Pure.

use serde_json::Value;

use distributary_core::ids::PolicyKey;

/// The lines that tell of this policy, or of none.
pub fn of_policy(log: &str, key: &PolicyKey) -> String {
    let own = log.lines().filter(|line| is_of(line, key));
    own.map(|line| format!("{line}\n")).collect()
}

fn is_of(line: &str, key: &PolicyKey) -> bool {
    let Some(policy) = field(line, "policy") else {
        return true;
    };
    match policy.split_once('/') {
        Some((namespace, name)) => namespace == key.namespace && name == key.name,
        None => {
            policy == key.name && field(line, "namespace").is_none_or(|namespace| namespace == key.namespace)
        }
    }
}

/// A field of a line, which is JSON or text behind the time that the kubelet has written.
fn field(line: &str, name: &str) -> Option<String> {
    let json = line
        .find('{')
        .and_then(|start| serde_json::from_str::<Value>(&line[start..]).ok());
    if let Some(fields) = json {
        return fields[name].as_str().map(ToOwned::to_owned);
    }
    let mut words = line.split_whitespace();
    let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_policies_are_left_out() {
        let time = "2026-01-01T00:00:00.000000001Z";
        let own = [
            format!("{time} {{\"level\":\"INFO\",\"message\":\"leads\",\"target\":\"distributary::k8s\"}}"),
            format!(
                "{time} {{\"level\":\"INFO\",\"message\":\"wrote\",\"policy\":\"orders\",\"namespace\":\"shop\",\"object\":\"{{}}\"}}"
            ),
            format!(
                "{time}  INFO distributary::k8s::requests: wrote policy=orders namespace=shop verb=\"patch\""
            ),
            format!("{time} DEBUG distributary::k8s::reconcile: pass done policy=orders"),
            format!("{time} TRACE distributary::engine: checked policy=shop/orders endpoint=primary"),
            format!("{time}  INFO distributary::process: started {{not json"),
        ];
        let others = [
            format!(
                "{time} {{\"level\":\"INFO\",\"message\":\"wrote\",\"policy\":\"carts\",\"namespace\":\"shop\"}}"
            ),
            format!(
                "{time} {{\"level\":\"INFO\",\"message\":\"wrote\",\"policy\":\"orders\",\"namespace\":\"other\"}}"
            ),
            format!(
                "{time}  INFO distributary::k8s::requests: wrote policy=orders namespace=other verb=\"patch\""
            ),
            format!("{time} TRACE distributary::engine: checked policy=other/orders endpoint=primary"),
        ];
        let key = PolicyKey::new("shop", "orders");
        let all: Vec<_> = own.iter().chain(&others).map(String::as_str).collect();
        let kept = of_policy(&all.join("\n"), &key);
        assert_eq!(kept.lines().collect::<Vec<_>>(), own);
    }
}
