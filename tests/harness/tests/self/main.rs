//! The harness itself: what the other tests rely on.

mod control_plane;
mod node;
mod postgres;

use std::process::ExitCode;

use harness::ControlPlane;
use harness::suite::Suite;

fn main() -> ExitCode {
    match std::env::var(node::HELD) {
        Ok(_) => harness::node::enter(node::hold),
        Err(_) => harness::node::enter(tests),
    }
}

fn tests() -> ExitCode {
    Suite::new(ControlPlane::start)
        .test("node_ends_with_its_program", node::ends_with_its_program)
        .test("node_ends_on_sigterm", node::ends_on_sigterm)
        .test(
            "node_ends_on_interrupt_of_its_process_group",
            node::ends_on_interrupt_of_its_process_group,
        )
        .test(
            "node_ends_when_the_outside_is_killed",
            node::ends_when_the_outside_is_killed,
        )
        .test("node_passes_the_exit_code_on", node::passes_the_exit_code_on)
        .test(
            "cluster_ip_leads_to_a_replica",
            control_plane::cluster_ip_leads_to_a_replica,
        )
        .test(
            "service_account_has_its_own_rights",
            control_plane::service_account_has_its_own_rights,
        )
        .test(
            "owned_objects_are_collected",
            control_plane::owned_objects_are_collected,
        )
        .test(
            "missed_deadline_says_what_was_seen",
            control_plane::missed_deadline_says_what_was_seen,
        )
        .test("kubectl_and_helm_work", control_plane::kubectl_and_helm_work)
        .test(
            "gate_holds_one_request_refuses_others_and_is_cut",
            control_plane::gate_holds_one_request_refuses_others_and_is_cut,
        )
        .test(
            "killed_server_leaves_no_process",
            postgres::killed_server_leaves_no_process,
        )
        .test(
            "frozen_server_does_not_answer",
            postgres::frozen_server_does_not_answer,
        )
        .test(
            "black_hole_cuts_replication_too",
            postgres::black_hole_cuts_replication_too,
        )
        .test("resets_reach_the_client", postgres::resets_reach_the_client)
        .test(
            "forgotten_connection_is_silent_and_a_new_one_works",
            postgres::forgotten_connection_is_silent_and_a_new_one_works,
        )
        .test(
            "requests_are_reset_and_routes_taken_away",
            postgres::requests_are_reset_and_routes_taken_away,
        )
        .test(
            "rules_more_addresses_and_ipv6_lead_to_a_server",
            postgres::rules_more_addresses_and_ipv6_lead_to_a_server,
        )
        .test(
            "link_is_slow_and_ends_with_its_owner",
            postgres::link_is_slow_and_ends_with_its_owner,
        )
        .test(
            "promoted_replica_is_followed",
            postgres::promoted_replica_is_followed,
        )
        .test("tls_can_be_required", postgres::tls_can_be_required)
        .test(
            "identities_differ_on_demand",
            postgres::identities_differ_on_demand,
        )
        .test("names_lead_to_servers", postgres::names_lead_to_servers)
        .test(
            "changed_password_is_refused",
            postgres::changed_password_is_refused,
        )
        .run()
}
