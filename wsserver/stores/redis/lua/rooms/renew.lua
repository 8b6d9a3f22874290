-- Name the log anew: Redis has lost the end of it, and someone was told of that. Arguments: the
-- epoch that it had, the one to have.
if EPOCH == ARGV[6] then
    EPOCH = ARGV[7]
    redis.call('HSET', META, 'ep', EPOCH)
    tell('renewed', '')
end
return ok()
