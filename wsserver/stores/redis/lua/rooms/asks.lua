-- Streams of open asks, in order of asking.
if not EPOCH then
    return {'none'}
end
local streams = {}
for index, ask in ipairs(open_asks()) do
    streams[index] = ask.stream
end
return ok(streams)
