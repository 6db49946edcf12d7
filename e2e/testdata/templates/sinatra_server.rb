# What the Ruby template of OpenFaaS puts in front of a handler: Sinatra, served by Puma. Written to the contract.
require_relative 'function/handler'
require 'sinatra'

set :port, ARGV.last.to_i
set :bind, '127.0.0.1'
set :logging, false

handler = Handler.new
answer = proc do
  body, headers, status = handler.run(request.body, request.env)
  [status || 200, headers, body]
end

%i[get post put delete].each { |verb| send(verb, '/*', &answer) }
