-- What all steps on an answer share. Which keys and fields there are is told in stream_format.py.
local META, TEXT, LOGPROBS, VIEWERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local CHANNEL = 'wsserver:b:' .. string.match(META, '{.*}')

-- Milliseconds that an answer is kept without a sign of life, and between two of these.
local LIVING_TTL, TTL_STEP = 3600000, 60000

local function field(name)
    return redis.call('HGET', META, name)
end

local function keep_for(milliseconds)
    for index = 1, 4 do
        redis.call('PEXPIRE', KEYS[index], milliseconds)
    end
end

local function keep_alive()
    local now = now_ms()
    if now >= tonumber(field('alive') or 0) then
        redis.call('HSET', META, 'alive', now + TTL_STEP)
        keep_for(LIVING_TTL)
    end
end

-- Another writer than before, or none: everything of the one before is refused from now on.
local function raise_fence(writer, state)
    local fence, base = redis.call('HINCRBY', META, 'fence', 1), redis.call('STRLEN', TEXT)
    local claims = field('claims')
    local claim = writer .. ':' .. base
    if claims ~= '' then
        claim = claims .. ',' .. claim
    end
    redis.call('HSET', META, 'claims', claim, 'writer', writer, 'state', state)
    ring(CHANNEL, 'C|' .. fence .. '|' .. base .. '|' .. state .. '|' .. writer)
    return fence
end

-- Nothing if this writer may write, else the reason why it may not.
local function refusal(fence, writer)
    local at = redis.call('HMGET', META, 'fence', 'writer', 'state')
    if not at[1] then
        return {'gone'}
    end
    if tonumber(at[1]) < tonumber(fence) then
        return {'behind'}  -- this claim was lost here
    end
    if at[1] ~= fence or at[2] ~= writer or at[3] ~= 'running' then
        return {'fenced'}
    end
end

-- An asker who is gone, and nobody who looks in a process that lives.
local function is_orphan()
    if field('gone') ~= '1' then
        return 0
    end
    redis.call('ZREMRANGEBYSCORE', VIEWERS, '-inf', now_ms())
    return redis.call('ZCARD', VIEWERS) == 0 and 1 or 0
end

-- Log probabilities of text that is no more.
local function cut_logprobs(length)
    while true do
        local last = redis.call('LINDEX', LOGPROBS, -1)
        if not last or tonumber(string.match(last, '^%d+')) <= length then
            return
        end
        redis.call('RPOP', LOGPROBS)
    end
end

-- Add text at an offset; what is there already is skipped. Nothing if it would leave a hole.
local function add_text(fence, offset, data, tokens, logprobs)
    local length = redis.call('STRLEN', TEXT)
    local known = length - offset
    if known < 0 then
        return nil
    end
    if known >= #data then
        return length
    end
    data = string.sub(data, known + 1)
    redis.call('APPEND', TEXT, data)
    redis.call('HSET', META, 'tokens', tokens)
    if logprobs ~= '' then
        cut_logprobs(length)
        redis.call('RPUSH', LOGPROBS, (length + #data) .. '|' .. logprobs)
    end
    if length == 0 then
        keep_for(LIVING_TTL)
    end
    local head = 'A|' .. fence .. '|' .. length .. '|' .. tokens .. '|' .. #logprobs .. '|'
    ring(CHANNEL, head .. logprobs .. data)
    return length + #data
end

local function end_here(ending, retention)
    redis.call('HSET', META, 'state', 'ended', 'ending', ending)
    local fence, total = field('fence'), redis.call('STRLEN', TEXT)
    keep_for(retention)
    ring(CHANNEL, 'E|' .. fence .. '|' .. total .. '|' .. ending)
end
