{{ meetings.stage('close', 'close_outcomes', key=['id'], cursor='date_updated', columns=[
    ('id', 'text'),
    ('name', 'text'),
    ('date_updated', 'moment'),
]) }}
