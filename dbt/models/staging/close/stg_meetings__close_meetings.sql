{{ meetings.stage('close', 'close_meetings', name='meeting_key', key=['id'], cursor='date_updated', columns=meetings.close_meeting_columns() + [
    ('is_deleted', 'boolean'),
]) }}
