{{ config(
    alias='meetings',
    unique_key='meeting_key',
    post_hook=[
        "{{ meetings.delete_gone(ref('meetings', 'int_meetings__meetings'), 'meeting_key') }}",
        "{{ meetings.mark_past() }}",
    ]
) }}

{{ meetings.changed_in(ref('meetings', 'int_meetings__meetings')) }}
