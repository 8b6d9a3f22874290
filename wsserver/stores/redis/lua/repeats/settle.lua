-- ARGV: 1 what the request became, 2 what it is from now on, 3 for how long that is kept (ms)
-- Nothing if it has become something else meanwhile.
if redis.call('HGET', KEYS[1], 'outcome') == ARGV[1] then
    redis.call('HSET', KEYS[1], 'outcome', ARGV[2])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 0
