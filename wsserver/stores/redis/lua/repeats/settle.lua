-- ARGV: 1 what the request became, 2 for how long that is kept (ms)
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('HSET', KEYS[1], 'outcome', ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
