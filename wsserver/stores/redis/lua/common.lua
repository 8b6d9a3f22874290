-- Put before every other script.

-- Redis' own time of day in milliseconds: one clock for all processes and hosts.
local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Tell a channel's subscribers. A script that rings takes the command for it as its last argument,
-- and its channel carries the hash tag of its keys: in a cluster the bell then stays on their host.
local function ring(channel, data)
    redis.call(ARGV[#ARGV], channel, data)
end
