"""What drifts: scores, features, prevalence and volumes of one period beside another's."""
