{
  environment.etc.greeting.text = "hello";
}
