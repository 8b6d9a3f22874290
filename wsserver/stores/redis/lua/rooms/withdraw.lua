-- Close an ask that gets no answer. Arguments: stream.
local stream = ARGV[6]

if EPOCH and redis.call('HDEL', ASKS, stream) == 1 then
    tell('withdrawn', '', stream)
end
return ok()
