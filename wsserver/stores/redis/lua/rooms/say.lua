-- Add what somebody said to the log. Arguments: client, entry, origin. The op is its messageId.
local client, blob, origin = ARGV[6], ARGV[7], ARGV[8]

if not has_seat(client) then
    return no('not_in_room')
end
if is_repeated() then
    for _, item in ipairs(redis.call('LRANGE', LOG, -DONE_KEPT, -1)) do
        if item:find(OP, 31, true) then
            return ok(item)
        end
    end
end
local item = append(blob)
tell('logged', origin, item)
return ok(item)
