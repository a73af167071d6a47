//! The HTTP API: who may what, as whom, and every example of docs/api.md.

mod changes;
mod chart;
mod examples;
pub mod scene;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use harness::suite::Suite;

use scene::{Account, Scene};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("the_api_lets_each_caller_do_what_its_table_says", table)
        .test(
            "the_api_of_an_operator_with_a_client_certificate_has_no_rights_of_its_own",
            certificate,
        )
        .test("every_example_of_the_api_works", examples::examples)
        .test(
            "the_api_keeps_a_certificate_that_it_makes",
            examples::own_certificate,
        )
        .test(
            "the_api_follows_the_certificate_of_a_directory",
            examples::directory,
        )
        .test("the_api_is_installed_by_the_chart", chart::installed)
        .test(
            "the_api_is_in_the_chart_only_where_it_is_enabled",
            chart::rendered,
        )
        .test("metrics_are_for_those_who_may_get_them", examples::metrics)
        .test(
            "a_replica_with_a_password_is_added_and_removed_with_its_secret",
            changes::secret,
        )
        .test(
            "a_replica_gets_another_url_and_the_secret_before_goes",
            changes::url,
        )
        .test(
            "of_those_who_add_one_replica_with_the_api_one_has_its_secret",
            changes::one_id,
        )
        .test("changes_at_the_same_time_take_back_none", changes::together)
        .test("a_policy_that_gitops_manages_is_left_alone", changes::gitops)
        .test(
            "a_caller_without_rights_on_secrets_leaves_nothing_behind",
            changes::refused,
        )
        .waiting_test(
            "the_api_tells_of_changes_until_the_right_is_gone",
            streams::changes,
        )
        .waiting_test(
            "the_api_tells_of_all_policies_until_the_right_to_list_is_gone",
            streams::fleet,
        )
        .test("the_ninth_stream_of_a_token_is_refused", streams::limits)
        .test(
            "a_client_of_events_that_reads_nothing_is_given_up_and_others_hear_on",
            streams::unread,
        )
}

/// The table has the page of metrics, too.
const METRICS: &str = "--metrics=Authorized";

async fn table(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set_as(plane, false, &[METRICS]).await?;
    by_the_table(&scene).await
}

/// Its kubeconfig has every right, by a client certificate, which the API server would go by before a token.
async fn certificate(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set_as(plane, true, &[METRICS]).await?;
    by_the_table(&scene).await
}

/// Asks everything that the table of docs/api.md tells, as each of its callers.
async fn by_the_table(scene: &Scene) -> Result<()> {
    let rows = rows()?;
    ensure!(rows.len() > 10, "{rows:?}");
    for (request, codes) in &rows {
        for (account, code) in codes {
            let answer = scene.ask(request, *account).await?;
            ensure!(
                answer.status == *code,
                "{request} as {account:?} is {} and not {code}: {}",
                answer.status,
                answer.body
            );
            if matches!(account, Account::Stranger) {
                let told = answer.body.contains("replica-1") || answer.body.contains(&scene.server());
                ensure!(!told, "a stranger learns: {}", answer.body);
            }
        }
    }
    scene.audit_names_callers()
}

type Row = (String, BTreeMap<Account, u16>);

fn rows() -> Result<Vec<Row>> {
    let page = include_str!("../../docs/api.md");
    let (_, section) = page.split_once("\n## Who may what\n").context("the section")?;
    let mut lines = section.lines().skip_while(|line| !line.starts_with("| request"));
    let head = cells(lines.next().context("the head")?);
    let accounts = head[1..].iter().map(|name| Account::of(name));
    let accounts = accounts.collect::<Result<Vec<_>>>()?;
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    rows.map(|row| {
        ensure!(row.len() == accounts.len() + 1, "{row:?}");
        let codes = row[1..].iter().map(|code| code.parse::<u16>().context("a code"));
        let codes = codes.collect::<Result<Vec<_>>>()?;
        let request = row[0].trim_matches('`').to_owned();
        Ok((request, accounts.iter().copied().zip(codes).collect()))
    })
    .collect()
}

pub fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_matches('|').split('|');
    inner.map(|cell| cell.trim().to_owned()).collect()
}
