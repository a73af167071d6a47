//! The client against real servers: what counts every read, or goes by tenths of a second, runs alone.

mod axum;
mod circuits;
mod dropped;
mod faults;
mod fixture;
mod fresh;
mod ledger;
mod outcomes;
mod reads;
mod remembered;
mod returned;
mod routing;
mod shown;
mod tokens;
mod transport;
mod writes;

use std::process::ExitCode;

use harness::suite::Suite;

fn main() -> ExitCode {
    harness::node::enter(tests)
}

fn tests() -> ExitCode {
    let suite = of_policies(of_writes(of_reads(Suite::new(|| async { Ok(()) }))));
    suite.at_once(2).run()
}

fn of_reads(suite: Suite<()>) -> Suite<()> {
    suite
        .test("reads_go_to_replicas_in_read_only_sessions", |_| {
            routing::reads_go_to_replicas_in_read_only_sessions()
        })
        .test("weights_are_obeyed_for_every_query", |_| {
            routing::weights_are_obeyed_for_every_query()
        })
        .test("the_policy_changes_at_run_time", |_| {
            routing::the_policy_changes_at_run_time()
        })
        .test("a_file_is_followed_and_a_bad_one_changes_nothing", |_| {
            routing::a_file_is_followed_and_a_bad_one_changes_nothing()
        })
        .test_alone("killed_replica_fails_no_read", |_| {
            faults::killed_replica_fails_no_read()
        })
        .test_alone("stopped_replica_fails_no_read", |_| {
            faults::stopped_replica_fails_no_read()
        })
        .test_alone("frozen_replica_fails_no_read", |_| {
            faults::frozen_replica_fails_no_read()
        })
        .test_alone("black_holed_replica_fails_no_read", |_| {
            faults::black_holed_replica_fails_no_read()
        })
        .test("frozen_only_replica_fails_no_read", |_| {
            faults::frozen_only_replica_fails_no_read()
        })
        .test("black_holed_only_replica_fails_no_read", |_| {
            faults::black_holed_only_replica_fails_no_read()
        })
        .test("a_read_runs_only_when_its_server_has_answered", |_| {
            reads::a_read_runs_only_when_its_server_has_answered()
        })
        .test("no_statement_waits_for_the_name_of_its_session", |_| {
            reads::no_statement_waits_for_the_name_of_its_session()
        })
        .test("no_second_attempt_after_an_answer_or_in_a_transaction", |_| {
            reads::no_second_attempt_after_an_answer_or_in_a_transaction()
        })
        .test("the_programs_own_error_waits_for_the_other_attempt", |_| {
            reads::the_programs_own_error_waits_for_the_other_attempt()
        })
        .test("a_busy_target_is_waited_for_where_the_other_is_lost", |_| {
            reads::a_busy_target_is_waited_for_where_the_other_is_lost()
        })
        .test("a_target_that_refuses_logins_fails_no_read", |_| {
            reads::a_target_that_refuses_logins_fails_no_read()
        })
        .test("the_primary_stands_in_where_no_replica_is_left", |_| {
            reads::the_primary_stands_in_where_no_replica_is_left()
        })
        .test("the_only_target_is_tried_again", |_| {
            reads::the_only_target_is_tried_again()
        })
        .test("a_follower_reads_on_the_primary_what_has_no_token", |_| {
            reads::a_follower_reads_on_the_primary_what_has_no_token()
        })
        .test_alone("replicas_behind_a_token_are_waited_for_once", |_| {
            reads::replicas_behind_a_token_are_waited_for_once()
        })
        .test_alone(
            "an_operation_stays_away_from_where_it_misses_its_deadlines",
            |_| circuits::an_operation_stays_away_from_where_it_misses_its_deadlines(),
        )
        .test("a_write_notices_that_its_server_is_silent", |_| {
            circuits::a_write_notices_that_its_server_is_silent()
        })
        .test("refused_logins_are_not_tried_for_each_request", |_| {
            circuits::refused_logins_are_not_tried_for_each_request()
        })
        .test_alone("a_bound_of_lag_is_kept", |_| fresh::a_bound_of_lag_is_kept())
        .test_alone("each_tenant_sees_its_own_writes", |_| {
            fresh::each_tenant_sees_its_own_writes()
        })
}

fn of_policies(suite: Suite<()>) -> Suite<()> {
    suite
        .test("an_explanation_says_who_serves_and_who_is_kept_out", |_| {
            shown::an_explanation_says_who_serves_and_who_is_kept_out()
        })
        .test("spans_tell_where_a_request_went_and_no_secret", |_| {
            shown::spans_tell_where_a_request_went_and_no_secret()
        })
        .test("a_span_of_the_program_is_left_alone", |_| {
            shown::a_span_of_the_program_is_left_alone()
        })
        .test("data_comes_and_goes_in_parts", |_| {
            shown::data_comes_and_goes_in_parts()
        })
        .test("each_part_of_the_service_takes_its_route", |_| {
            axum::each_part_of_the_service_takes_its_route()
        })
        .test("a_promotion_is_followed_and_remembered", |_| {
            remembered::a_promotion_is_followed_and_remembered()
        })
        .test("writes_stay_until_their_move_is_remembered", |_| {
            remembered::writes_stay_until_their_move_is_remembered()
        })
        .test("a_policy_file_is_followed", |_| {
            remembered::a_policy_file_is_followed()
        })
        .test("servers_are_added_removed_and_weighed_at_run_time", |_| {
            remembered::servers_are_added_removed_and_weighed_at_run_time()
        })
}

fn of_writes(suite: Suite<()>) -> Suite<()> {
    suite
        .test("dropped_futures_leave_nothing_behind", |_| {
            dropped::dropped_futures_leave_nothing_behind()
        })
        .test("no_secret_is_shown", |_| dropped::no_secret_is_shown())
        .test("a_write_says_whether_it_was_done", |_| {
            writes::a_write_says_whether_it_was_done()
        })
        .test("writes_follow_no_read_only_server", |_| {
            writes::writes_follow_no_read_only_server()
        })
        .test(
            "a_transaction_that_may_only_read_says_nothing_of_the_server",
            |_| writes::a_transaction_that_may_only_read_says_nothing_of_the_server(),
        )
        .test("a_write_that_was_done_is_never_called_not_done", |_| {
            outcomes::a_write_that_was_done_is_never_called_not_done()
        })
        .test("a_transaction_that_its_closure_ends_is_found_out", |_| {
            outcomes::a_transaction_that_its_closure_ends_is_found_out()
        })
        .test("a_token_that_comes_too_late_takes_nothing_back", |_| {
            outcomes::a_token_that_comes_too_late_takes_nothing_back()
        })
        .test("connections_that_are_well_go_back", |_| {
            returned::connections_that_are_well_go_back()
        })
        .test("the_state_of_a_session_stays_with_its_request", |_| {
            returned::the_state_of_a_session_stays_with_its_request()
        })
        .test("every_statement_of_a_crowd_is_cancelled", |_| {
            returned::every_statement_of_a_crowd_is_cancelled()
        })
        .test("a_session_that_is_kept_keeps_no_connection", |_| {
            returned::a_session_that_is_kept_keeps_no_connection()
        })
        .test("no_read_is_older_than_its_token", |_| {
            tokens::no_read_is_older_than_its_token()
        })
        .test("no_read_is_older_than_its_token_across_a_promotion", |_| {
            tokens::no_read_is_older_than_its_token_across_a_promotion()
        })
        .test("a_followers_read_sees_the_token_of_its_query_too", |_| {
            tokens::a_followers_read_sees_the_token_of_its_query_too()
        })
        .test("a_token_that_nobody_was_given_does_no_harm", |_| {
            tokens::a_token_that_nobody_was_given_does_no_harm()
        })
        .test("a_token_from_before_a_promotion_is_unproven", |_| {
            tokens::a_token_from_before_a_promotion_is_unproven()
        })
        .test("certificates_are_verified_against_the_endpoints_own_name", |_| {
            transport::certificates_are_verified_against_the_endpoints_own_name()
        })
        .test("reads_through_a_pooler_are_read_only_transactions", |_| {
            transport::reads_through_a_pooler_are_read_only_transactions()
        })
        .test("a_login_is_held_to_the_terms_of_a_check", |_| {
            transport::a_login_is_held_to_the_terms_of_a_check()
        })
        .test("a_write_that_waits_goes_where_the_writes_go", |_| {
            ledger::a_write_that_waits_goes_where_the_writes_go()
        })
        .test("a_read_of_a_silent_primary_goes_where_the_writes_go", |_| {
            ledger::a_read_of_a_silent_primary_goes_where_the_writes_go()
        })
        .test("after_an_orderly_stop_no_write_is_lost_or_done_twice", |_| {
            ledger::after_an_orderly_stop_no_write_is_lost_or_done_twice()
        })
        .test(
            "after_a_kill_with_a_synchronous_standby_no_write_is_lost_or_done_twice",
            |_| ledger::after_a_kill_with_a_synchronous_standby_no_write_is_lost_or_done_twice(),
        )
}
