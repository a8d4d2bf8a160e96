{{ meetings.stage('close', 'close_meeting_transcripts', key=['id'], cursor='date_updated', columns=[
    ('id', 'text'),
    ('transcripts', 'json'),
    ('date_updated', 'moment'),
]) }}
