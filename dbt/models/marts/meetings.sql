{{ config(
    unique_key='meeting_key',
    post_hook="{{ meetings.delete_gone(ref('int_meetings'), 'meeting_key') }}"
) }}

{{ meetings.changed_in(ref('int_meetings')) }}
