-- KEYS: those of an answer, then its bar. ARGV: 1 for how long (ms)
-- The answer never comes into the log from now on. Returns 0 if it is there.
if redis.call('EXISTS', META) == 1 then
    return 0
end
redis.call('SET', KEYS[5], '1', 'PX', ARGV[1])
return 1
