{{ meetings.stage('close', 'close_meeting_transcripts', name='transcript_key', key=['id'], cursor='date_updated', columns=[
    ('id', 'text'),
    ('transcripts', 'json'),
    ('date_updated', 'moment'),
]) }}
