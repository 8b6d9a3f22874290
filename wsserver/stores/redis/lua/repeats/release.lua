-- ARGV: 1 what the request was to become, 2 for how long it is known that it was (ms)
-- It never was: whoever asks again has it, or another one under the same id.
if redis.call('HGET', KEYS[1], 'outcome') == ARGV[1] then
    redis.call('HSET', KEYS[1], 'free', '1')
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
