"""What a customer is and how one is scored: the floor below training, serving and streaming."""
