{{ meetings.stage('close', 'close_outcomes', name='outcome_key', key=['id'], cursor='date_updated', columns=[
    ('id', 'text'),
    ('name', 'text'),
    ('date_updated', 'moment'),
]) }}
