"""Every guard that is marked in the code (`# guard: its name`): how it is taken out, and what fails then.

A test holds that each mark has an entry and each entry a mark. tests/chaos/marks.py says what a mark means
and what may be done to it; `make mutations` does it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tests.chaos.marks import ALWAYS, DROP, FIRST, LAST, NEVER, How, instead, value


class Guard(NamedTuple):
    """How a guard is taken out, and the function of the test that then fails; without one, chaos does."""

    how: How
    test: str = ""


GUARDS: Mapping[str, Guard] = {
    # --- Running again -----------------------------------------------------------------------------------
    "retry after a fault": Guard(ALWAYS, "test_a_passing_fault_is_retried_and_one_order_is_placed"),
    "deadline of the retries": Guard(FIRST, "test_no_attempt_starts_after_the_deadline"),
    "OC000 is a fault": Guard(LAST),
    "OC001 told from OC000": Guard(LAST),
    "a duplicate's idempotency record is a fault": Guard(
        DROP, "test_a_duplicate_request_that_wrote_its_record_first_is_found"
    ),
    "a duplicate's inbox record is a fault": Guard(DROP),
    "XX000 is a fault": Guard(NEVER),
    "a lost connection is a fault": Guard(NEVER),
    "an unknown commit is named so": Guard(LAST, "test_passing_faults_are_told_apart"),
    "an answer is not waited for without end": Guard(
        value("not ready.poll()"), "test_an_answer_to_commit_that_never_comes_is_an_unknown_outcome"
    ),
    "a refusal after an unknown commit is no answer": Guard(
        NEVER, "test_a_refusal_after_an_unknown_commit_is_no_answer_because_that_may_still_arrive"
    ),
    "a refused login is final": Guard(
        NEVER, "test_a_login_that_is_refused_is_not_tried_again_and_says_nothing_of_who_asked"
    ),
    "the server's certificate is verified against Amazon's authorities": Guard(
        value('"system" if settings.tls == "verify-full" else None'),
        "test_a_server_with_a_trusted_certificate_is_connected_to",
    ),
    "a violated CHECK is final": Guard(
        value('state in ("XX000", "23514")'), "test_errors_that_another_attempt_cannot_fix_are_not_retried"
    ),
    "a new session after a failure of the server": Guard(DROP),
    "rollback after a failed attempt": Guard(DROP),
    "only what the server prepared counts as prepared": Guard(
        instead("asked.append(self._prepared_as.setdefault(key, name) and key)")
    ),
    # --- What an order may be ----------------------------------------------------------------------------
    "nobody orders what they did not see, even for the same total": Guard(
        NEVER, "test_nobody_orders_what_they_did_not_see"
    ),
    "an order takes from so many slots and no more": Guard(
        NEVER, "test_an_order_never_changes_more_rows_than_one_transaction_may"
    ),
    "whoever is being erased has no account": Guard(
        DROP, "test_whoever_is_being_erased_orders_nothing_more_not_even_for_nothing"
    ),
    # --- What comes in ------------------------------------------------------------------------------------
    "what comes in has no member that nobody asked for": Guard(
        DROP, "test_each_wrong_value_is_told_what_it_must_be"
    ),
    "what comes in is of the type that it says": Guard(DROP, "test_each_wrong_value_is_told_what_it_must_be"),
    "2.0 is a whole number": Guard(value("value"), "test_a_number_is_whole_however_it_is_written"),
    "questions about health do not all reach the database": Guard(
        ALWAYS, "test_not_every_question_about_health_reaches_the_database"
    ),
    "AWS is asked once in a while, however many look": Guard(
        ALWAYS, "test_however_many_look_aws_is_asked_once_in_a_while"
    ),
    "text comes in composed": Guard(DROP, "test_text_comes_in_composed"),
    "a cursor is as it was written": Guard(NEVER, "test_a_cursor_of_our_own_leads_on_and_in_no_other_form"),
    "a moment of a cursor is in UTC": Guard(
        NEVER, "test_every_value_that_is_hard_for_a_database_is_tried_where_a_list_is_sorted_by_it"
    ),
    "a number of a cursor is one of its column": Guard(
        NEVER, "test_every_value_that_is_hard_for_a_database_is_tried_where_a_list_is_sorted_by_it"
    ),
    "a rating of a cursor is not below the least of its column": Guard(
        NEVER, "test_every_value_that_is_hard_for_a_database_is_tried_where_a_list_is_sorted_by_it"
    ),
    "a value that the database refuses is the caller's": Guard(
        value("ZeroDivisionError"), "test_what_no_repetition_fixes_is_counted_by_the_request_that_met_it"
    ),
    "half of a character is no text": Guard(NEVER, "test_what_is_no_text_is_refused_in_a_query"),
    "what was not read as UTF-8 is no text": Guard(
        NEVER, "test_what_readers_of_json_take_differently_is_refused"
    ),
    "a member stands once in a body": Guard(NEVER, "test_what_readers_of_json_take_differently_is_refused"),
    "a body is UTF-8": Guard(NEVER, "test_a_body_is_json_in_utf_8"),
    "weak tags match nothing": Guard(value("False"), "test_if_match_is_read_as_http_has_it"),
    "a hash is of what was sent": Guard(
        instead('content = self.route.resource + (self.body.model_dump_json() if self.body else "")'),
        "test_a_release_with_an_optional_member_more_knows_a_request_again",
    ),
    "hashes of two forms are not compared": Guard(
        value("True"), "test_a_key_whose_hash_is_of_another_form_is_answered_again"
    ),
    "what no repetition fixes is counted": Guard(
        DROP, "test_what_no_repetition_fixes_is_counted_by_the_request_that_met_it"
    ),
    # --- Idempotency -------------------------------------------------------------------------------------
    "idempotency read": Guard(NEVER),
    "idempotency record in the write's transaction": Guard(DROP),
    "a key stands for one content": Guard(NEVER),
    "an own commit is no replay": Guard(value("True")),
    # --- Money, stock, carts -----------------------------------------------------------------------------
    "CHECK of the balance": Guard(
        ALWAYS, "test_the_schema_refuses_a_negative_balance_whatever_the_code_decided"
    ),
    "CHECK of the stock": Guard(ALWAYS, "test_a_change_that_no_decision_may_make_is_refused"),
    "CHECK of a line's refund": Guard(ALWAYS, "test_a_change_that_no_decision_may_make_is_refused"),
    "CHECK of an order's refund": Guard(ALWAYS, "test_a_change_that_no_decision_may_make_is_refused"),
    "both balances locked for a boost": Guard(DROP),
    "no more is given back than is left": Guard(NEVER),
    "what was ordered counts as gone (checkout)": Guard(NEVER),
    "what was ordered counts as gone (setting a quantity)": Guard(FIRST),
    "a line that was there is changed, never put back": Guard(
        LAST, "test_a_line_that_was_there_is_written_by_what_puts_none_back"
    ),
    "a removed line is held before it is set again": Guard(
        NEVER, "test_a_quantity_set_while_the_cleanup_takes_an_order_that_has_no_line_any_more"
    ),
    "the erasure touches the balance": Guard(
        value(
            "[_MARK_ERASED(customer_id=customer_id, erased_at=origin.now), "
            "*([move_points(change)] * bool(change.points))]"
        ),
        "test_a_credit_that_meets_an_erasure_is_refused_and_moves_nothing",
    ),
    "nobody is served whose account has ended": Guard(NEVER, "test_no_route_serves_a_customer_who_is_erased"),
    "staff are who the database says": Guard(
        NEVER, "test_no_route_of_the_staff_serves_whoever_is_none_of_them_any_more"
    ),
    "nothing is written before the caller is admitted": Guard(
        NEVER, "test_no_route_serves_a_customer_who_is_erased"
    ),
    "an unknown commit is settled, whatever became of the caller": Guard(
        value("database.admission if asks else None"),
        "test_whoever_was_let_in_hears_how_their_write_ended",
    ),
    "a route that asks the database nothing admits callers, too": Guard(
        NEVER, "test_a_route_that_asks_the_database_nothing_admits_callers_too"
    ),
    "an item change finds itself done": Guard(
        NEVER, "test_an_item_change_whose_answer_is_lost_is_found_and_not_refused"
    ),
    "stock is laid in up to a limit": Guard(NEVER, "test_stock_is_not_adjusted_beyond_what_an_item_may_have"),
    "no balance above the largest": Guard(NEVER, "test_a_refund_does_not_lift_a_balance_above_the_largest"),
    "an item's words change with it": Guard(DROP, "test_the_search_finds_an_item_by_what_it_says_now"),
    "a search reads a bounded part of a list": Guard(
        value("10**6"), "test_a_search_for_what_is_common_reads_a_part_of_the_list_and_says_where_to_go_on"
    ),
    "nobody credits themselves": Guard(
        NEVER, "test_who_of_the_staff_credited_whom_is_written_down_and_nobody_credits_themselves"
    ),
    "nobody boosts their own household": Guard(
        NEVER, "test_who_of_the_staff_credited_whom_is_written_down_and_nobody_credits_themselves"
    ),
    "picture URLs are kept at best effort": Guard(
        value("ZeroDivisionError"), "test_urls_that_cannot_be_kept_are_given_all_the_same_after_one_attempt"
    ),
    # --- Consumers ---------------------------------------------------------------------------------------
    "inbox read": Guard(NEVER),
    "inbox row in the effect's transaction": Guard(value("[]")),
    "the order is marked when its cart is clean": Guard(DROP),
    "a message is closed when it was sent": Guard(DROP),
    "a closed message is not sent": Guard(DROP),
    "a message has one sender at a time": Guard(
        instead("true,"), "test_a_message_to_nobody_is_closed_by_the_run_that_has_its_claim"
    ),
    "who has lost the claim sends nothing": Guard(
        NEVER, "test_a_run_that_lost_its_claim_before_sending_sends_nothing"
    ),
    "the claim of a run that died ends": Guard(
        DROP, "test_what_a_run_that_died_had_claimed_is_sent_by_the_next_when_the_claim_ends"
    ),
    "a message is handed over once in a call": Guard(
        value("{'mode': 'standard', 'max_attempts': 3}"),
        "test_a_message_whose_answer_is_lost_is_handed_over_once_in_a_call",
    ),
    "no confirmation after a cancellation": Guard(
        DROP, "test_a_confirmation_that_could_not_be_sent_before_the_cancellation_is_withdrawn"
    ),
    "a cancelled order is not confirmed": Guard(
        NEVER,
        "test_an_order_that_is_cancelled_by_now_is_not_confirmed_before_its_cancellation_has_come",
    ),
    "only a cancelled order's cancellation is told of": Guard(
        NEVER, "test_an_order_that_is_not_cancelled_is_not_told_to_be"
    ),
    "an event's word is not taken for an order": Guard(
        NEVER, "test_an_order_that_does_not_exist_is_not_confirmed"
    ),
    "an event's word is not taken for whose it is": Guard(
        NEVER, "test_an_event_that_is_not_the_orders_own_uses_up_no_true_ones_id"
    ),
    "a catalogue's texts are those that the API takes": Guard(
        NEVER, "test_a_text_that_the_api_refuses_is_refused_in_a_file"
    ),
    "every character of a username is seen": Guard(NEVER, "test_what_cannot_be_a_username_is_refused"),
    "a message waits for the one that it follows": Guard(
        NEVER,
        "test_a_cancellation_waits_for_the_confirmation_that_is_on_its_way",
    ),
    "a sender that failed gives its claim back": Guard(
        DROP, "test_a_confirmation_that_could_not_be_sent_before_the_cancellation_is_withdrawn"
    ),
    "a refused sender is not the recipient's fault": Guard(
        ALWAYS, "test_a_sender_that_ses_refuses_skips_nobodys_message"
    ),
    "a message that could not be sent stays due": Guard(value("suppress(Exception)")),
    "records that failed are reported": Guard(value("{'batchItemFailures': []}")),
    "a record left for lack of time is reported": Guard(DROP),
    "a stale version has no effect": Guard(
        NEVER, "test_an_older_version_than_the_last_has_no_effect_and_is_not_looked_at_again"
    ),
    "a mail that was too fast is sent again": Guard(
        ALWAYS, "test_what_ses_refused_for_its_rate_alone_is_asked_again_for_some_seconds"
    ),
    "what returns is known by the message that it was": Guard(DROP, "test_a_message_says_which_it_is"),
    "an event's word is not taken for an address": Guard(
        instead("addresses = addresses or [str(notification_id)]"),
        "test_nobody_is_silenced_by_an_event_about_what_was_not_sent",
    ),
    "what returned from a former address silences no other": Guard(
        NEVER, "test_what_returned_from_a_former_address_does_not_silence_the_new_one"
    ),
    "a message that went nowhere silences nobody": Guard(
        DROP, "test_nobody_is_silenced_by_an_event_about_what_was_not_sent"
    ),
    "another sender's mail is not ours to judge": Guard(
        DROP, "test_the_rule_lets_through_what_silences_an_address"
    ),
    "a mailbox that is full today is not given up": Guard(
        value("{bounce: {bounceType: [{exists: true}]}}"),
        "test_the_rule_lets_through_what_silences_an_address",
    ),
    "a mail beyond the quota waits and is no failure": Guard(
        instead("raise"), "test_a_mail_beyond_the_quota_waits_in_its_queue_and_is_sent_when_there_is_room"
    ),
    # --- E-mail addresses and bounds ----------------------------------------------------------------------
    "an address is its owner's only when they have confirmed it": Guard(
        instead("confirmed, pending = requested.email, None"), "test_a_new_address_waits_for_its_code"
    ),
    "a code holds for a while and for so many attempts": Guard(
        NEVER, "test_a_code_confirms_once_for_a_while_and_after_a_few_attempts_no_more"
    ),
    "an address is confirmed by its code alone": Guard(
        NEVER, "test_a_code_confirms_once_for_a_while_and_after_a_few_attempts_no_more"
    ),
    "codes that are tried are counted": Guard(DROP, "test_codes_that_are_tried_are_counted"),
    "codes that are sent have a bound": Guard(value("beyond"), "test_codes_have_a_bound_by_customer"),
    "codes that are sent again have a bound": Guard(value("None"), "test_codes_have_a_bound_by_customer"),
    "the former address hears of the change": Guard(
        DROP, "test_a_new_address_is_the_accounts_when_its_code_comes_back"
    ),
    "cancellations have a bound": Guard(value("None"), "test_cancellations_have_a_bound_and_refunds_none"),
    "a day has a bound": Guard(NEVER, "test_what_is_beyond_a_bound_waits_for_the_next_hour_or_day"),
    "an hour has a bound": Guard(NEVER, "test_what_is_beyond_a_bound_waits_for_the_next_hour_or_day"),
    "e-mails have a bound, by customer and by address": Guard(
        NEVER, "test_an_attacker_sends_a_stranger_one_message_without_a_word_of_theirs"
    ),
    "nothing is sent to an address that bounced or complained": Guard(
        NEVER, "test_nothing_is_sent_to_an_address_that_bounced"
    ),
    "what may not go is not sent": Guard(ALWAYS, "test_nothing_is_sent_to_an_address_that_bounced"),
    "a code goes to an address that is still wanted": Guard(
        value("None"), "test_an_address_that_is_wanted_no_more_is_not_written_to"
    ),
    "no name is said to an address that is not the customer's": Guard(
        instead("c.first_name"), "test_a_new_address_is_greeted_without_a_name"
    ),
    "what is skipped is counted by its reason": Guard(DROP, "test_what_is_skipped_is_counted_by_its_reason"),
    "a name in an e-mail is short": Guard(NEVER, "test_what_is_no_plain_name_is_not_said"),
    "a name in an e-mail is made of name characters": Guard(
        value("text"), "test_what_is_no_plain_name_is_not_said"
    ),
    "an item's name in an e-mail is no address": Guard(NEVER, "test_an_items_name_is_said_where_it_is_one"),
    # --- Cascades and jobs -------------------------------------------------------------------------------
    "an event's word is not taken for an erasure": Guard(
        DROP, "test_a_slice_that_is_resumed_asks_whether_the_customer_is_erased"
    ),
    "an event's word is not taken for whose erasure it is": Guard(
        NEVER, "test_an_event_of_anothers_cascade_uses_up_no_slice_of_it"
    ),
    "an event's word is not taken for whose retirement it is": Guard(
        NEVER, "test_an_event_of_anothers_cascade_uses_up_no_slice_of_it"
    ),
    "a lost Region's cleanups are measured by the others": Guard(
        instead("from xpoints.region_cleanups where region = 'us-east-1'"),
        "test_what_a_lost_region_has_still_to_delete_is_measured_in_the_others",
    ),
    "the links of functions that still run stay": Guard(
        FIRST, "test_a_link_that_a_deployment_no_longer_wants_goes_with_the_next_one"
    ),
    "links of others are left alone": Guard(
        ALWAYS, "test_a_link_that_a_deployment_no_longer_wants_goes_with_the_next_one"
    ),
    "a cascade's next slice is left with its record": Guard(FIRST),
    "a cascade's slice that was done is not done again": Guard(
        NEVER, "test_a_slice_that_is_delivered_again_has_no_effect_and_hands_nothing_on"
    ),
    "the next slice begins behind the last key": Guard(
        value("_next(names, here.step) if advance.is_done else Checkpoint(here.step, None)"),
        "test_the_next_slice_begins_behind_the_last_key_that_was_done",
    ),
    "a cascade's batch has an end": Guard(
        instead("limit %(most)s * 1000"),
        "test_no_transaction_of_a_cascade_changes_more_rows_than_the_database_allows",
    ),
    "every Region is left what it has to delete": Guard(
        instead("from (select %(region)s::varchar as region) as known")
    ),
    "what a Region has to delete is forgotten when it is deleted": Guard(DROP),
    "a user of the name who names nobody is not taken for somebody else's": Guard(
        NEVER, "test_a_user_of_the_name_who_names_nobody_is_for_a_person_to_look_at"
    ),
    "a namesake keeps their sign-in": Guard(
        ALWAYS, "test_every_user_of_the_customer_goes_and_a_namesake_stays"
    ),
    "not found by name is not deleted": Guard(NEVER, "test_a_user_goes_whatever_form_name_and_id_have"),
    "a pool that was looked through in part proves nothing": Guard(
        NEVER, "test_somebody_without_a_user_is_done_once_the_whole_pool_was_looked_through"
    ),
    # --- Sign-ins ----------------------------------------------------------------------------------------
    "a message's word is not taken for whose name it is": Guard(
        NEVER, "test_a_message_that_fits_nobody_is_reported"
    ),
    "a message makes nobody one of the staff": Guard(NEVER, "test_a_message_that_fits_nobody_is_reported"),
    "whoever was erased is not enrolled": Guard(NEVER, "test_whoever_was_erased_does_not_come_back"),
    "whoever was erased meanwhile has no user": Guard(
        NEVER, "test_whoever_is_erased_while_the_user_is_made_has_none_afterwards"
    ),
    "a user that exists is not taken for the customer's own": Guard(
        NEVER, "test_a_user_is_not_taken_over_by_a_message_about_somebody_else"
    ),
    "a user that is complete is not touched again": Guard(
        NEVER, "test_a_second_delivery_changes_nothing_of_a_user_who_is_complete"
    ),
    "nobody who was erased comes back by an invitation": Guard(
        NEVER, "test_whoever_is_erased_during_the_invitation_has_no_user_afterwards"
    ),
    "an invitation takes nobody's name": Guard(NEVER, "test_nobodys_name_is_taken"),
    "staff without an authenticator app are customers": Guard(
        NEVER, "test_staff_are_staff_with_an_authenticator_app_alone"
    ),
    "a password is set once": Guard(
        NEVER, "test_an_enrolment_that_was_cut_off_is_completed_by_the_next_delivery"
    ),
    "two items that let go of a picture at once conflict": Guard(
        DROP, "test_a_picture_of_two_items_that_are_retired_at_once_goes_with_the_later"
    ),
    "rows a transaction": Guard(value("30000"), "test_transactions_are_bounded_by_what_dsql_allows"),
    "bytes a transaction": Guard(
        value("MAX_ROWS - 1"), "test_a_batch_of_large_rows_stays_under_the_bytes_of_a_transaction"
    ),
    "a scan resumes where it stopped": Guard(
        LAST, "test_a_scan_stops_when_the_time_is_up_and_the_next_run_resumes_behind_its_checkpoint"
    ),
    "a part of a job that fails stops no other": Guard(
        instead("raise"), "test_an_expiry_that_fails_at_one_table_goes_on_with_the_others"
    ),
    "what a job finds is told at once": Guard(
        DROP, "test_an_audit_that_fails_in_the_middle_of_a_table_has_told_what_it_found_before"
    ),
    "expiry asks for the age of inbox rows": Guard(DROP),
    "expiry asks for the age of idempotency records": Guard(DROP),
    "the sweep spares what has its parent": Guard(
        instead(
            "and not exists (select 1 from xpoints.{parent} as parent "
            "where parent.id = child.{column} and not ({alive}))"
        )
    ),
    "a message put back is a dead letter no more": Guard(
        instead(
            "delete from xpoints.outbox_dead_letters where false and id = any(%(ids)s::uuid[]) returning id"
        ),
        "test_dead_letters_are_listed_inspected_and_requeued",
    ),
    "messages that are looked at for long stay hidden": Guard(
        DROP, "test_a_queue_that_takes_long_to_read_is_read_to_its_end_and_given_back"
    ),
    "the sweep counts the erased and retired as gone": Guard(
        instead("(parent.{gone_column} is null or true)"),
        "test_a_parent_that_was_erased_or_retired_counts_as_gone",
    ),
    # --- Outbox and relay --------------------------------------------------------------------------------
    "an event that no consumer could read is not made": Guard(
        value("Annotated[int, WHOLE]"), "test_an_event_that_no_consumer_could_read_is_not_made"
    ),
    "outbox row in the order's transaction": Guard(DROP),
    "every entry's result is looked at": Guard(ALWAYS),
    "nothing is sent to a bus that is gone": Guard(
        NEVER, "test_nothing_is_sent_to_a_bus_that_is_gone_and_all_goes_out_when_it_is_back"
    ),
    "only what was accepted is deleted": Guard(
        value("[*outcome.accepted, *(each.message for each in outcome.failed)]")
    ),
    "a request without an answer proves nothing": Guard(instead("outcome.accepted += batch")),
    "what was accepted is deleted": Guard(DROP),
    "attempts have an end": Guard(value("counts and failure.message.attempts + 1 >= 10**6")),
    "an outage dead-letters nothing": Guard(
        FIRST, "test_an_outage_of_the_bus_dead_letters_nothing_and_counts_nothing"
    ),
    "a lease has one holder": Guard(
        instead("or true"), "test_the_database_refuses_a_lease_that_another_holds_whatever_the_relay_believes"
    ),
    "a lease ends": Guard(DROP),
    "nothing is read without a lease in force": Guard(DROP, "test_a_relay_reads_nothing_without_a_lease"),
    "only the holder of a lease dead-letters": Guard(
        instead("where true"),
        "test_a_relay_whose_lease_another_has_can_neither_count_nor_dead_letter",
    ),
    "age of a takeover": Guard(
        instead("and %(age_s)s::float > 0"), "test_fresh_messages_of_another_region_are_left_to_its_relay"
    ),
    "stranded outboxes are taken over": Guard(
        instead("self._outbox.release()"),
        "test_old_messages_of_another_region_are_left_alone_while_somebody_holds_their_shard",
    ),
    "a newer run ends the one before": Guard(
        NEVER, "test_a_new_run_ends_the_one_before_it_and_no_message_waits_or_goes_twice"
    ),
    "a shard is given up when its messages have landed": Guard(
        DROP, "test_a_shard_is_given_up_after_its_messages_have_landed"
    ),
    "a run that was overtaken keeps its shards until its messages have landed": Guard(
        value("transaction.commit(_RELEASE_ALL(token=self._token)) and None"),
        "test_a_shard_is_given_up_after_its_messages_have_landed",
    ),
    "bytes of what the relay records at once": Guard(
        NEVER, "test_what_the_bus_said_of_large_messages_is_recorded_in_transactions_that_dsql_takes"
    ),
    "what was answered is recorded before more is read": Guard(
        instead("self._outbox.settle(*self._debts.popleft())"),
        "test_the_relay_outlives_a_database_that_is_away_and_publishes_nothing_twice",
    ),
    # --- The order that tries a new version --------------------------------------------------------------
    "whatever is not the answer that has to come is a failure": Guard(
        NEVER, "test_a_version_that_answers_wrongly_fails_the_run_and_does_not_keep_the_points"
    ),
    "a version that fails does not keep the points": Guard(
        DROP, "test_a_version_that_answers_wrongly_fails_the_run_and_does_not_keep_the_points"
    ),
    "what a run that was cut off has ordered is given back by the next": Guard(
        NEVER, "test_what_a_run_that_was_cut_off_has_ordered_is_cancelled_by_the_next"
    ),
}
